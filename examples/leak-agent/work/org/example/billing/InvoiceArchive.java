package org.example.billing;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.GZIPOutputStream;

/** Compresses invoices into streams that nobody closes: each holds a Deflater's 268 kB of native memory. */
public final class InvoiceArchive {
    /** Keeps the streams reachable: the collector would end the Deflaters of others, and no count were exact. */
    private final List<GZIPOutputStream> forgotten = new ArrayList<>();

    public void compressAndForget(String invoice) throws IOException {
        GZIPOutputStream stream = new GZIPOutputStream(new ByteArrayOutputStream());
        stream.write(invoice.getBytes(StandardCharsets.UTF_8));
        stream.flush();
        forgotten.add(stream);
    }

    public int size() {
        return forgotten.size();
    }
}
