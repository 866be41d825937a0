package org.example.search;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.DataFormatException;
import java.util.zip.DeflaterOutputStream;
import java.util.zip.Inflater;

/** Reads compressed results through Inflaters that nobody ends: each holds 40 kB of native memory. */
public final class SearchCache {
    /** Keeps the Inflaters reachable, for the same reason as in InvoiceArchive. */
    private final List<Inflater> forgotten = new ArrayList<>();

    public void inflateAndForget(String result) throws IOException {
        Inflater inflater = new Inflater();
        inflater.setInput(compress(result));
        byte[] head = new byte[4];
        try {
            inflater.inflate(head);
        } catch (DataFormatException impossible) {
            throw new IOException(impossible);
        }
        forgotten.add(inflater);
    }

    public int size() {
        return forgotten.size();
    }

    private static byte[] compress(String text) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (DeflaterOutputStream stream = new DeflaterOutputStream(bytes)) {
            stream.write(text.getBytes(StandardCharsets.UTF_8));
        }
        return bytes.toByteArray();
    }
}
