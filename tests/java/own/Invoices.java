package com.shop;

import de.helpers.Codec;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** Forgets to close what a library gave it: on the main thread (`main`), or on a pool's (`pool`). */
public class Invoices {
    static final List<Object> KEPT = new ArrayList<>();

    void archive(int count) {
        for (int i = 0; i < count; i++) {
            store(new byte[1000]);
        }
    }

    void store(byte[] invoice) {
        try {
            KEPT.add(Codec.pack(invoice));
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    public static void main(String[] args) throws Exception {
        Invoices invoices = new Invoices();
        for (int round = 0; round < 8; round++) {
            Thread.sleep(400);
            if (args[0].equals("main")) {
                invoices.archive(50);
            } else {
                ExecutorService pool = Executors.newSingleThreadExecutor();
                pool.submit(() -> invoices.archive(50)).get();
                pool.shutdown();
            }
        }
    }
}
