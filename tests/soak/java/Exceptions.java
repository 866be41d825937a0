import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.security.AccessController;
import java.security.PrivilegedExceptionAction;

/** Exceptions thrown through compiled, interpreted, native and reflective frames, with and without stack traces. */
class Exceptions implements Storm {
    /** Carries how far it came. */
    static class Thrown extends Exception {
        final long value;

        Thrown(long value, boolean traced) {
            super("thrown", null, true, traced);
            this.value = value;
        }
    }

    static final Method GO = find();

    static Method find() {
        try {
            return Exceptions.class.getDeclaredMethod("go", int.class, int.class);
        } catch (NoSuchMethodException trouble) {
            throw new IllegalStateException(trouble);
        }
    }

    @SuppressWarnings("removal")
    static long go(int depth, int seed) throws Exception {
        if (depth == 0) {
            throw new Thrown(Work.pack(seed), (seed & 1) == 0);
        }
        switch ((depth + seed) % 7) {
            case 0:
                try {
                    return (Long) GO.invoke(null, depth - 1, seed);
                } catch (InvocationTargetException wrapped) {
                    throw (Exception) wrapped.getCause();
                }
            case 1:
                try {
                    return go(depth - 1, seed);
                } catch (Thrown thrown) {
                    Work.pack(seed + depth);
                    throw new Thrown(thrown.value + depth, (depth & 1) == 0);
                }
            case 2:
                try {
                    return go(depth - 1, seed);
                } finally {
                    Work.pack(depth);
                }
            case 3:
                return AccessController.doPrivileged((PrivilegedExceptionAction<Long>) () -> unwrapped(depth - 1, seed));
            default:
                return go(depth - 1, seed);
        }
    }

    static long unwrapped(int depth, int seed) {
        try {
            return go(depth, seed);
        } catch (Thrown thrown) {
            return thrown.value;
        } catch (Exception trouble) {
            throw new IllegalStateException(trouble);
        }
    }

    public long round(int number) throws Exception {
        long sum = 0;
        for (int i = 0; i < 30; i++) {
            try {
                sum += go(20 + i, number + i);
            } catch (Thrown thrown) {
                sum += thrown.value + (thrown.getStackTrace().length > 0 ? 1 : 0);
            }
        }
        return sum;
    }
}
