import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/** Native memory as servers use it, in two threads: java Churn ROUNDS. */
public class Churn {
    private static final int THREADS = 2;

    public static void main(String[] arguments) throws Exception {
        int rounds = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 1000;
        Field field = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        sun.misc.Unsafe unsafe = (sun.misc.Unsafe) field.get(null);
        Thread[] threads = new Thread[THREADS];
        for (int i = 0; i < THREADS; i++) {
            threads[i] = new Thread(() -> work(unsafe, rounds));
            threads[i].start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
    }

    private static void work(sun.misc.Unsafe unsafe, int rounds) {
        byte[] plain = new byte[8192];
        for (int i = 0; i < plain.length; i++) {
            plain[i] = (byte) (i * i >> 5);
        }
        byte[] packed = new byte[16384];
        for (int round = 0; round < rounds; round++) {
            compress(plain, packed);
            for (int i = 0; i < 100; i++) {
                unsafe.freeMemory(unsafe.allocateMemory(64 + (round * 31 + i * 97) % 4096));
            }
            if (round % 8 == 0) {
                ByteBuffer.allocateDirect(16384).put(0, (byte) 1);
            }
        }
    }

    private static void compress(byte[] plain, byte[] packed) {
        Deflater deflater = new Deflater(1);
        deflater.setInput(plain);
        deflater.finish();
        int length = deflater.deflate(packed);
        deflater.end();
        Inflater inflater = new Inflater();
        try {
            inflater.setInput(packed, 0, length);
            inflater.inflate(plain);
        } catch (java.util.zip.DataFormatException broken) {
            throw new IllegalStateException(broken);
        } finally {
            inflater.end();
        }
    }
}
