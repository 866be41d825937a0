import java.util.ArrayList;
import java.util.List;
import java.util.zip.Deflater;

/** Virtual threads that allocate at every depth, before and after they were unmounted. */
public class Mounted {
    static final List<Object> KEPT = new ArrayList<>();

    static void keep() {
        Deflater deflater = new Deflater();
        synchronized (KEPT) {
            KEPT.add(deflater);
        }
    }

    static int deep(int depth) {
        if (depth == 0) {
            keep();
            try {
                Thread.sleep(1);
            } catch (InterruptedException trouble) {
                throw new AssertionError(trouble);
            }
            keep();
            return 1;
        }
        return 1 + deep(depth - 1);
    }

    public static void main(String[] arguments) throws Exception {
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            threads.add(Thread.startVirtualThread(() -> deep(100)));
        }
        for (Thread thread : threads) {
            thread.join();
        }
    }
}
