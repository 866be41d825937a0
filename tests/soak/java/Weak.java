import java.lang.ref.PhantomReference;
import java.lang.ref.Reference;
import java.lang.ref.ReferenceQueue;
import java.lang.ref.SoftReference;
import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.List;
import java.util.WeakHashMap;

/** References of all strengths, their queue, and a heap that changes all the time: work for barriers and collectors. */
class Weak implements Storm {
    private final ReferenceQueue<Object> queue = new ReferenceQueue<>();
    private final WeakHashMap<Object, long[]> map = new WeakHashMap<>();
    private final List<Reference<Object>> references = new ArrayList<>();
    private final Object[] graph = new Object[5000];

    public long round(int number) throws Exception {
        long sum = 0;
        for (int i = 0; i < 2000; i++) {
            Object[] node = {graph[(i * 7 + number) % graph.length] == null ? null : i, new byte[i % 300]};
            graph[(i * 13 + number) % graph.length] = node;
            Object key = new Object();
            if (i % 4 == 0) {
                map.put(key, new long[] {i});
                sum += map.get(key)[0];
            }
            switch (i % 3) {
                case 0:
                    references.add(new WeakReference<>(node, queue));
                    break;
                case 1:
                    references.add(new SoftReference<>(node, queue));
                    break;
                default:
                    references.add(new PhantomReference<>(node, queue));
                    break;
            }
        }
        for (Reference<?> gone = queue.poll(); gone != null; gone = queue.poll()) {
            gone.clear();
        }
        references.removeIf(reference -> references.size() > 4000 && reference.hashCode() % 2 == 0);
        if (references.size() > 20_000) {
            references.clear();
        }
        if (number % 32 == 0) {
            System.gc();
        }
        return sum + Work.pack(number);
    }
}
