package org.example.leak;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import org.example.billing.InvoiceArchive;
import org.example.search.SearchCache;

/** The thread that leaks at a fixed rate for a fixed time and writes down exactly how much. */
public final class Leak implements Runnable {
    private static final long TICK_MILLIS = 50;

    /** Static, so that all they hold stays reachable when this thread has ended. */
    private static final InvoiceArchive ARCHIVE = new InvoiceArchive();
    private static final SearchCache CACHE = new SearchCache();

    private final RandomAccessFile counts;
    private final int quiet;
    private final int seconds;
    private final int invoicesPerSecond;
    private final int searchesPerSecond;

    public Leak(RandomAccessFile counts, int quiet, int seconds, int invoicesPerSecond, int searchesPerSecond) {
        this.counts = counts;
        this.quiet = quiet;
        this.seconds = seconds;
        this.invoicesPerSecond = invoicesPerSecond;
        this.searchesPerSecond = searchesPerSecond;
    }

    public void start() {
        Thread thread = new Thread(this, "nightly-billing");
        thread.setDaemon(true);
        thread.start();
    }

    @Override
    public void run() {
        try {
            leakUntil(0);
            Thread.sleep(quiet * 1000L);
            long end = seconds * 1000L;
            long start = System.nanoTime();
            for (long elapsed = 0; elapsed < end; elapsed = (System.nanoTime() - start) / 1_000_000) {
                leakUntil(elapsed);
                Thread.sleep(TICK_MILLIS);
            }
            leakUntil(end);
        } catch (IOException | InterruptedException trouble) {
            System.err.println("leak-agent: stopped: " + trouble);
        }
    }

    /** Catches up with what must be leaked after so many milliseconds, and writes the counts. */
    private void leakUntil(long millis) throws IOException {
        while (ARCHIVE.size() < invoicesPerSecond * millis / 1000) {
            ARCHIVE.compressAndForget("invoice " + ARCHIVE.size());
        }
        while (CACHE.size() < searchesPerSecond * millis / 1000) {
            CACHE.inflateAndForget("result " + CACHE.size());
        }
        write(millis == seconds * 1000L);
    }

    /** Lines of a fixed width, written over the old ones. */
    private void write(boolean finished) throws IOException {
        String text = String.format("invoices %10d%nsearches %10d%nfinished %10d%n",
                ARCHIVE.size(), CACHE.size(), finished ? 1 : 0);
        counts.seek(0);
        counts.write(text.getBytes(StandardCharsets.US_ASCII));
    }
}
