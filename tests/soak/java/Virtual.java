import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Virtual threads (JDK 21 and later): mounted, parked, pinned, deep, with native memory in all of them. */
class Virtual implements Storm {
    private final Object lock = new Object();

    private long work(int number, int depth) throws Exception {
        if (depth > 0) {
            return work(number, depth - 1) + 1;
        }
        long sum = Work.pack(number);
        switch (number % 4) {
            case 0:
                Thread.sleep(1);
                break;
            case 1:
                synchronized (lock) {
                    sum += Work.pack(number + 1);
                }
                break;
            case 2:
                Thread.yield();
                break;
            default:
                break;
        }
        return sum + Work.pack(number + 2);
    }

    public long round(int number) throws Exception {
        long sum = 0;
        try (ExecutorService service = Executors.newVirtualThreadPerTaskExecutor()) {
            List<Future<Long>> results = new ArrayList<>();
            for (int i = 0; i < 100; i++) {
                int own = i;
                results.add(service.submit(() -> work(number + own, own % 50)));
            }
            for (Future<Long> result : results) {
                sum += result.get();
            }
        }
        return sum;
    }
}
