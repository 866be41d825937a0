import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/** Leaks native memory in each of the usual ways, one method a way, and prints how much where it knows. */
public class Leaks {
    static final List<Object> KEPT = new ArrayList<>();

    /** A block from malloc, by a library that has no unwind tables. */
    static native long block(long bytes);

    static void deflaters() {
        for (int i = 0; i < 100; i++) {
            KEPT.add(new Deflater());
        }
    }

    static void inflaters() {
        for (int i = 0; i < 100; i++) {
            KEPT.add(new Inflater());
        }
    }

    static void buffers() {
        for (int i = 0; i < 100; i++) {
            KEPT.add(ByteBuffer.allocateDirect(100_000));
        }
    }

    static void unsafeBlocks() throws ReflectiveOperationException {
        Field field = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        sun.misc.Unsafe unsafe = (sun.misc.Unsafe) field.get(null);
        for (int i = 0; i < 100; i++) {
            unsafe.allocateMemory(100_000);
        }
    }

    static void jniBlocks() {
        for (int i = 0; i < 100; i++) {
            block(100_000);
        }
    }

    public static void main(String[] arguments) throws Exception {
        System.loadLibrary("untabled");
        Runnable[] ways = {Leaks::deflaters, Leaks::inflaters, Leaks::buffers, Leaks::jniBlocks};
        for (Runnable way : ways) {
            Thread thread = new Thread(way);
            thread.start();
            thread.join();
        }
        unsafeBlocks();
        // Java's own way out, in the middle of other threads' work.
        Thread busy = new Thread(() -> {
            while (true) {
                new Inflater().end();
            }
        });
        busy.setDaemon(true);
        busy.start();
        Thread.sleep(50);
        System.exit(3);
    }
}
