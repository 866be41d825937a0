import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.zip.Deflater;

/** Leaks 60 deflaters, then two of its threads wait for each other for ever; says so when the VM has noticed. */
public class Hung {
    static final List<Deflater> KEPT = new ArrayList<>();
    static final Object LEFT = new Object();
    static final Object RIGHT = new Object();

    static void leakDeflaters() {
        for (int i = 0; i < 60; i++) {
            KEPT.add(new Deflater());
        }
    }

    static void takeBoth(Object first, Object second, CountDownLatch both) {
        synchronized (first) {
            both.countDown();
            try {
                both.await();
            } catch (InterruptedException interrupted) {
                return;
            }
            synchronized (second) {
                System.out.println("not deadlocked");
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        leakDeflaters();
        CountDownLatch both = new CountDownLatch(2);
        new Thread(() -> takeBoth(LEFT, RIGHT, both)).start();
        new Thread(() -> takeBoth(RIGHT, LEFT, both)).start();
        while (ManagementFactory.getThreadMXBean().findDeadlockedThreads() == null) {
            Thread.sleep(20);
        }
        System.out.println("deadlocked");
        Thread.sleep(Long.MAX_VALUE);
    }
}
