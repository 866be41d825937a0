import java.util.Random;

/**
 * Allocates native memory under some fifty Java frames, on a few dozen different stacks, and has each allocation timed:
 * java DeepJava WARM_ROUNDS ROUNDS MODE.
 */
public class DeepJava {
    /** Steps of two frames, or of three. */
    private static final int DEPTH = 18;
    private static final int PATHS = 64;

    /** Allocates and frees a block, and notes how long that (or, in mode "agct", AsyncGetCallTrace) took. */
    static native void measure();

    /** Forgets what was noted. */
    static native void begin(boolean traces);

    /** Prints the 50th and the 99th percentile, nanoseconds, and the frames that AsyncGetCallTrace found. */
    static native void report();

    interface Step {
        void go(byte[] path, int at);
    }

    static final class Plain implements Step {
        public void go(byte[] path, int at) {
            next(path, at + 1);
        }
    }

    static final class Locked implements Step {
        public synchronized void go(byte[] path, int at) {
            next(path, at + 1);
        }
    }

    static final class Called implements Step {
        public void go(byte[] path, int at) {
            Runnable task = () -> next(path, at + 1);
            task.run();
        }
    }

    private static final Step[] STEPS = {new Plain(), new Locked(), new Called()};

    static void next(byte[] path, int at) {
        if (at == DEPTH) {
            measure();
        } else {
            STEPS[path[at]].go(path, at);
        }
    }

    public static void main(String[] arguments) {
        System.loadLibrary("deepjava");
        Random random = new Random(1);
        byte[][] paths = new byte[PATHS][DEPTH];
        for (byte[] path : paths) {
            for (int i = 0; i < DEPTH; i++) {
                path[i] = (byte) random.nextInt(STEPS.length);
            }
        }
        int warm = Integer.parseInt(arguments[0]);
        int rounds = Integer.parseInt(arguments[1]);
        begin(arguments[2].equals("agct"));
        for (int i = 0; i < warm + rounds; i++) {
            if (i == warm) {
                begin(arguments[2].equals("agct"));
            }
            for (byte[] path : paths) {
                next(path, 0);
            }
        }
        report();
    }
}
