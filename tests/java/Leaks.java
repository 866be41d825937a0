import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/**
 * Leaks native memory in each of the usual ways, one method a way; or, given a number, so many class loaders, each with
 * a class of its own.
 */
public class Leaks {
    static final List<Object> KEPT = new ArrayList<>();

    /** A block from malloc, by a library that has no unwind tables. */
    static native long block(long bytes);

    /** Calls a Runnable, from the same library. */
    static native void callBack(Runnable task);

    /** Defined by each of the loaders. */
    public static class Small {
        public static int answer() {
            return 42;
        }
    }

    static class Loader extends ClassLoader {
        Class<?> define(byte[] bytes) {
            return defineClass("Leaks$Small", bytes, 0, bytes.length);
        }
    }

    static void loaders(int count) throws IOException, ReflectiveOperationException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (InputStream in = Leaks.class.getResourceAsStream("Leaks$Small.class")) {
            for (int one = in.read(); one >= 0; one = in.read()) {
                bytes.write(one);
            }
        }
        for (int i = 0; i < count; i++) {
            Class<?> small = new Loader().define(bytes.toByteArray());
            small.getMethod("answer").invoke(null);
            KEPT.add(small);
        }
    }

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

    static void blocksInCallBacks() {
        for (int i = 0; i < 100; i++) {
            callBack(() -> block(100_000));
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length > 0) {
            loaders(Integer.parseInt(arguments[0]));
            return;
        }
        System.loadLibrary("untabled");
        Runnable[] ways = {
            Leaks::deflaters, Leaks::inflaters, Leaks::buffers, Leaks::jniBlocks, Leaks::blocksInCallBacks,
        };
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
