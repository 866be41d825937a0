import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.Inflater;

/** Native memory whose Java owner is known: held by a static map, by a thread local, by a list, or by nobody any more. */
public class Holders {
    static final Map<Integer, ByteBuffer> MAP = new HashMap<>();
    static final List<Inflater> INFLATERS = new ArrayList<>();
    static final ThreadLocal<List<ByteBuffer>> LOCAL = new ThreadLocal<>();

    static void inMap() {
        for (int i = 0; i < 30; i++) {
            MAP.put(i, ByteBuffer.allocateDirect(90_000));
        }
    }

    static int inDead() {
        int bytes = 0;
        for (int i = 0; i < 30; i++) {
            ByteBuffer[] dead = {ByteBuffer.allocateDirect(80_000)};
            bytes += dead[0].capacity();
        }
        return bytes;
    }

    static void inThreadLocal() {
        List<ByteBuffer> buffers = new ArrayList<>();
        for (int i = 0; i < 30; i++) {
            buffers.add(ByteBuffer.allocateDirect(70_000));
        }
        LOCAL.set(buffers);
    }

    static void inList() throws Exception {
        for (int i = 0; i < 30; i++) {
            Inflater inflater = new Inflater();
            INFLATERS.add(inflater);
            inflater.setInput(new byte[] {120, -100, 75, 4, 0});
            inflater.inflate(new byte[8]);
        }
    }

    public static void main(String[] arguments) throws Exception {
        inMap();
        int bytes = inDead();
        inList();
        Thread thread = new Thread(() -> {
            inThreadLocal();
            synchronized (MAP) {
                MAP.notifyAll();
            }
            while (true) {
                try {
                    Thread.sleep(1_000);
                } catch (InterruptedException end) {
                    return;
                }
            }
        }, "keeps-buffers");
        thread.setDaemon(true);
        synchronized (MAP) {
            thread.start();
            MAP.wait();
        }
        Thread.sleep(2_500);
        System.out.println("ready");
        System.out.flush();
        // Until stdin ends.
        while (System.in.read() >= 0) {
        }
        System.out.println(MAP.size() + INFLATERS.size() + bytes);
    }
}
