import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/**
 * Walks at random through the ways in which Java code can be called, and has the witness look at the stack at its ends.
 *
 * Arguments: walks per thread, "storm" or "calm".
 */
public class Shapes {
    /** Allocates one marked block, and notes the stack that JVMTI sees at that point. */
    static native void look();

    /** Calls a Runnable through JNI. */
    static native void callBack(Runnable task);

    /** Starts a thread that sets breakpoints and retransforms classes for ever, so that compiled frames are thrown away. */
    static native void storm();

    static volatile int sink;
    static final int[] NUMBERS = new int[100];

    interface Shape {
        void go(int depth, Random random);
    }

    static class Plain implements Shape {
        public void go(int depth, Random random) {
            int before = sink;
            step(depth - 1, random);
            sink = before + 1;
        }
    }

    static class Locked implements Shape {
        public void go(int depth, Random random) {
            synchronized (this) {
                step(depth - 1, random);
            }
        }
    }

    static class Caught implements Shape {
        public void go(int depth, Random random) {
            try {
                step(depth - 1, random);
            } catch (IllegalStateException expected) {
                look();
            } finally {
                sink++;
            }
        }
    }

    static class Lambda implements Shape {
        public void go(int depth, Random random) {
            Runnable task = () -> step(depth - 1, random);
            task.run();
        }
    }

    static class Native implements Shape {
        public void go(int depth, Random random) {
            callBack(() -> step(depth - 1, random));
        }
    }

    static class Handle implements Shape {
        static final MethodHandle STEP;

        static {
            try {
                MethodType type = MethodType.methodType(void.class, int.class, Random.class);
                STEP = MethodHandles.lookup().findStatic(Shapes.class, "step", type);
            } catch (ReflectiveOperationException trouble) {
                throw new AssertionError(trouble);
            }
        }

        public void go(int depth, Random random) {
            try {
                STEP.invokeExact(depth - 1, random);
            } catch (IllegalStateException expected) {
                throw expected;
            } catch (Throwable trouble) {
                throw new AssertionError(trouble);
            }
        }
    }

    static class Reflected implements Shape {
        static final Method STEP;

        static {
            try {
                STEP = Shapes.class.getDeclaredMethod("step", int.class, Random.class);
            } catch (ReflectiveOperationException trouble) {
                throw new AssertionError(trouble);
            }
        }

        public void go(int depth, Random random) {
            try {
                STEP.invoke(null, depth - 1, random);
            } catch (InvocationTargetException wrapped) {
                throw (IllegalStateException) wrapped.getCause();
            } catch (IllegalAccessException trouble) {
                throw new AssertionError(trouble);
            }
        }
    }

    /** The loop is compiled while it runs (on-stack replacement). */
    static class Looping implements Shape {
        public void go(int depth, Random random) {
            for (int i = 0; i < NUMBERS.length; i++) {
                sink += NUMBERS[i];
                if (i == 50) {
                    step(depth - 1, random);
                }
            }
        }
    }

    static class Sorting implements Shape {
        public void go(int depth, Random random) {
            boolean[] done = {false};
            List<Integer> list = Arrays.asList(3, 1, 2);
            list.sort((a, b) -> {
                if (!done[0]) {
                    done[0] = true;
                    step(depth - 2, random);
                }
                return a - b;
            });
        }
    }

    static class Streaming implements Shape {
        public void go(int depth, Random random) {
            Arrays.asList(1, 2).stream().filter(n -> n == 1).forEach(n -> step(depth - 2, random));
        }
    }

    static final Shape[] SHAPES = {
        new Plain(), new Plain(), new Locked(), new Caught(), new Lambda(), new Native(), new Handle(), new Reflected(),
        new Looping(), new Sorting(), new Streaming(),
    };

    static void step(int depth, Random random) {
        if (depth <= 0) {
            look();
            return;
        }
        if (random.nextInt(20) == 0) {
            look();
        }
        inlined(depth, random);
    }

    static void inlined(int depth, Random random) {
        if ((depth & 7) == 0 && random.nextInt(4) == 0) {
            throw new IllegalStateException();
        }
        inlinedToo(depth, random);
    }

    static void inlinedToo(int depth, Random random) {
        SHAPES[random.nextInt(SHAPES.length)]
            .go(depth, random);
    }

    /** Calls that reach no look, so that the compilers have something to work on. */
    static void warm(Random random) {
        for (int i = 0; i < 20_000; i++) {
            NUMBERS[i % NUMBERS.length] += random.nextInt(3);
        }
    }

    static void wander(int wanted, long seed) {
        Random random = new Random(seed);
        warm(random);
        for (int i = 0; i < wanted; i++) {
            try {
                step(random.nextInt(30), random);
            } catch (IllegalStateException expected) {
                sink++;
            }
            if (i % 2000 == 1999) {
                System.gc();
            }
        }
    }

    public static void main(String[] arguments) throws InterruptedException {
        System.loadLibrary("witness");
        if (arguments[1].equals("storm")) {
            storm();
        }
        int wanted = Integer.parseInt(arguments[0]);
        Thread[] threads = new Thread[2];
        for (int i = 0; i < threads.length; i++) {
            long seed = i;
            threads[i] = new Thread(() -> wander(wanted, seed), "wanderer-" + i);
            threads[i].start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
        // The storm's thread does not end.
        System.exit(0);
    }
}
