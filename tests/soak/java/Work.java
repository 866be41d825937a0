import java.util.Random;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/** Pieces of work that storms share. Each allocates native memory and gives it back. */
public final class Work {
    private Work() {}

    /** Packs and unpacks some bytes; returns their checksum. */
    public static long pack(int seed) throws Exception {
        byte[] plain = new byte[200 + (seed & 1023)];
        new Random(seed & 15).nextBytes(plain);
        byte[] packed = new byte[2 * plain.length + 100];
        byte[] unpacked = new byte[plain.length];
        Deflater deflater = new Deflater(1 + (seed & 7));
        Inflater inflater = new Inflater();
        try {
            deflater.setInput(plain);
            deflater.finish();
            inflater.setInput(packed, 0, deflater.deflate(packed));
            if (inflater.inflate(unpacked) != plain.length) {
                throw new IllegalStateException("it was not unpacked");
            }
        } finally {
            deflater.end();
            inflater.end();
        }
        CRC32 sum = new CRC32();
        sum.update(unpacked);
        return sum.getValue();
    }

    /** Runs a task in so many threads at once; the sum of what they return. */
    public static long inThreads(int count, java.util.function.IntToLongFunction task) throws Exception {
        long[] results = new long[count];
        Thread[] threads = new Thread[count];
        for (int i = 0; i < count; i++) {
            int own = i;
            threads[i] = new Thread(() -> results[own] = task.applyAsLong(own));
            threads[i].setDaemon(true);
            threads[i].start();
        }
        long sum = 0;
        for (int i = 0; i < count; i++) {
            threads[i].join();
            sum += results[i];
        }
        return sum;
    }

    /** The same without a checked exception. */
    public static long packed(int seed) {
        try {
            return pack(seed);
        } catch (Exception trouble) {
            throw new IllegalStateException(trouble);
        }
    }
}
