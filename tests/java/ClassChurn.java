import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Makes classes, runs each once and drops it, burst after burst: java ClassChurn BURSTS CLASSES [PAUSE].
 *
 * Ten classes of each burst leak a block: of the first burst until the next one, of the others for ever.
 * Between bursts it sleeps for 2600 ms, long enough for the tap to forget methods, or for PAUSE ms.
 */
public class ClassChurn {
    static final String TEMPLATE = "ClassChurn$Made00000";
    public static sun.misc.Unsafe unsafe;

    /** Is defined again and again, under names of the same length. */
    static class Made00000 implements Runnable {
        static long block;
        static boolean keep;

        public void run() {
            block = unsafe.allocateMemory(100_000);
            if (!keep) {
                unsafe.freeMemory(block);
            }
        }
    }

    static class Loader extends ClassLoader {
        Loader() {
            super(ClassChurn.class.getClassLoader());
        }

        Class<?> define(byte[] bytes) {
            return defineClass(null, bytes, 0, bytes.length);
        }
    }

    static byte[] template() throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (InputStream in = ClassChurn.class.getResourceAsStream(TEMPLATE + ".class")) {
            for (int one = in.read(); one >= 0; one = in.read()) {
                bytes.write(one);
            }
        }
        return bytes.toByteArray();
    }

    /** The template under another name. */
    static byte[] renamed(byte[] template, int number) {
        String text = new String(template, StandardCharsets.ISO_8859_1);
        return text.replace("Made00000", String.format("Made%05d", number)).getBytes(StandardCharsets.ISO_8859_1);
    }

    static long make(byte[] template, int number, boolean keep) throws Exception {
        Class<?> made = new Loader().define(renamed(template, number));
        Field kept = made.getDeclaredField("keep");
        Field block = made.getDeclaredField("block");
        kept.setAccessible(true);
        block.setAccessible(true);
        kept.setBoolean(null, keep);
        java.lang.reflect.Constructor<?> constructor = made.getDeclaredConstructor();
        constructor.setAccessible(true);
        ((Runnable) constructor.newInstance()).run();
        return block.getLong(null);
    }

    public static void main(String[] arguments) throws Exception {
        Field field = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        unsafe = (sun.misc.Unsafe) field.get(null);
        int bursts = Integer.parseInt(arguments[0]);
        int classes = Integer.parseInt(arguments[1]);
        int pause = arguments.length > 2 ? Integer.parseInt(arguments[2]) : 2600;
        byte[] template = template();
        List<Long> first = new ArrayList<>();
        for (int burst = 0; burst < bursts; burst++) {
            for (int i = 0; i < classes; i++) {
                int number = burst * classes + i + 1;
                boolean keep = i < 10;
                long block = make(template, number, keep);
                if (keep && burst == 0) {
                    first.add(block);
                }
            }
            System.gc();
            Thread.sleep(pause);
            first.forEach(block -> unsafe.freeMemory(block));
            first.clear();
        }
    }
}
