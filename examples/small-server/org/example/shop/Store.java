package org.example.shop;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;

/**
 * The latest documents in small compressed blocks. Every stream is closed here: much native memory is
 * allocated (268 kB to write a block, 40 kB to read one) and none is kept, the very opposite of a leak.
 */
final class Store {
    private static final int LINES_OF_A_BLOCK = 16;
    private static final int KEPT_BLOCKS = 500;

    private final Deque<byte[]> blocks = new ArrayDeque<>();

    void add(List<String> lines) throws IOException {
        for (int from = 0; from < lines.size(); from += LINES_OF_A_BLOCK) {
            List<String> block = lines.subList(from, Math.min(from + LINES_OF_A_BLOCK, lines.size()));
            keep(compress(String.join("\n", block)));
        }
    }

    /** How many lines hold a word. */
    long count(String word) throws IOException {
        long count = 0;
        for (byte[] block : snapshot()) {
            count += expand(block).lines().filter(line -> line.contains(word)).count();
        }
        return count;
    }

    private synchronized void keep(byte[] block) {
        blocks.addLast(block);
        if (blocks.size() > KEPT_BLOCKS) {
            blocks.removeFirst();
        }
    }

    private synchronized List<byte[]> snapshot() {
        return new ArrayList<>(blocks);
    }

    private static byte[] compress(String text) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (GZIPOutputStream stream = new GZIPOutputStream(bytes)) {
            stream.write(text.getBytes(StandardCharsets.UTF_8));
        }
        return bytes.toByteArray();
    }

    private static String expand(byte[] block) throws IOException {
        try (GZIPInputStream stream = new GZIPInputStream(new ByteArrayInputStream(block))) {
            return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
        }
    }
}
