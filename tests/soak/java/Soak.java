import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;

/**
 * Runs storms side by side, each in a thread of its own, and leaks a known amount meanwhile.
 *
 * <pre>java Soak SECONDS END STORM…     END: return, exit, halt, term</pre>
 *
 * Prints what the first rounds of each storm came to, "leaked N BYTES", and ends while the storms still run (but for
 * "return"). Two runs print the same for the rounds that both of them did.
 */
public class Soak {
    static final int LEAKED_BYTES = 40_000;
    /** Rounds that are printed one by one; behind them only those whose number is a power of two. */
    static final int PRINTED = 16;

    static final List<ByteBuffer> LEAKED = new ArrayList<>();
    static final TreeMap<String, StringBuilder> RESULTS = new TreeMap<>();
    static volatile boolean over;

    /** The leak that a profile must show. */
    static void leak() {
        LEAKED.add(ByteBuffer.allocateDirect(LEAKED_BYTES));
    }

    static void run(String name) {
        try {
            java.lang.reflect.Constructor<?> constructor = Class.forName(name).getDeclaredConstructor();
            constructor.setAccessible(true);
            Storm storm = (Storm) constructor.newInstance();
            long sum = 0;
            for (int number = 1; !over; number++) {
                sum = sum * 31 + storm.round(number);
                if (number <= PRINTED || (number & (number - 1)) == 0) {
                    print(name, number + " " + Long.toHexString(sum));
                }
            }
        } catch (Throwable trouble) {
            if (!over) {
                trouble.printStackTrace();
                print(name, "failed " + trouble);
            }
        }
    }

    static void print(String name, String line) {
        synchronized (RESULTS) {
            RESULTS.computeIfAbsent(name, none -> new StringBuilder()).append(name + " " + line + "\n");
        }
    }

    public static void main(String[] arguments) throws Exception {
        long end = System.nanoTime() + (long) (Double.parseDouble(arguments[0]) * 1e9);
        String way = arguments[1];
        List<Thread> threads = new ArrayList<>();
        for (int i = 2; i < arguments.length; i++) {
            String name = arguments[i];
            Thread thread = new Thread(null, () -> run(name), name, 1 << 20);
            thread.setDaemon(true);
            thread.start();
            threads.add(thread);
        }
        while (System.nanoTime() < end) {
            leak();
            Thread.sleep(20);
        }
        if (way.equals("return")) {
            over = true;
            for (Thread thread : threads) {
                thread.join();
            }
        }
        synchronized (RESULTS) {
            RESULTS.values().forEach(System.out::print);
        }
        System.out.println("leaked " + LEAKED.size() + " " + LEAKED_BYTES);
        System.out.flush();
        switch (way) {
            case "exit":
                System.exit(3);
                break;
            case "halt":
                Runtime.getRuntime().halt(4);
                break;
            case "term":
                sun.misc.Signal.raise(new sun.misc.Signal("TERM"));
                Thread.sleep(600_000);
                break;
            default:
                break;
        }
    }
}
