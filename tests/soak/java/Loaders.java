import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.util.function.LongUnaryOperator;

/** Class loaders that come and go with a class each; their metadata is freed under the feet of whoever looks. */
class Loaders implements Storm {
    /** Is defined again and again. */
    public static class Made implements LongUnaryOperator {
        public long applyAsLong(long number) {
            long sum = 0;
            for (int i = 0; i < 50; i++) {
                sum = sum * 7 + deeper(number + i, 3);
            }
            return sum;
        }

        private long deeper(long number, int depth) {
            return depth == 0 ? Work.packed((int) number) : deeper(number, depth - 1) + depth;
        }
    }

    /** Knows one class. */
    static class Loader extends ClassLoader {
        Loader() {
            super(Loaders.class.getClassLoader());
        }

        Class<?> define(byte[] bytes) {
            return defineClass(null, bytes, 0, bytes.length);
        }
    }

    private final byte[] template = bytesOf(Made.class);

    static byte[] bytesOf(Class<?> known) {
        try (InputStream in = known.getResourceAsStream("/" + known.getName() + ".class")) {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            for (int one = in.read(); one >= 0; one = in.read()) {
                bytes.write(one);
            }
            return bytes.toByteArray();
        } catch (Exception trouble) {
            throw new IllegalStateException(trouble);
        }
    }

    public long round(int number) throws Exception {
        long sum = 0;
        for (int i = 0; i < 20; i++) {
            Class<?> made = new Loader().define(template);
            sum += ((LongUnaryOperator) made.getDeclaredConstructor().newInstance()).applyAsLong(number);
        }
        if (number % 8 == 0) {
            System.gc();
        }
        return sum;
    }
}
