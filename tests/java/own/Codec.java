package de.helpers;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.util.zip.GZIPOutputStream;

/** Stands for a library that nobody knows: it opens streams of the JDK for whoever asks. */
public class Codec {
    /** The caller is to close it. */
    public static OutputStream pack(byte[] bytes) throws IOException {
        OutputStream stream = open(new ByteArrayOutputStream());
        stream.write(bytes);
        return stream;
    }

    static OutputStream open(OutputStream below) throws IOException {
        return new GZIPOutputStream(below);
    }
}
