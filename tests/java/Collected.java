import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** Direct buffers of which half are held and half only wait for the garbage collector. */
public class Collected {
    static final List<ByteBuffer> KEPT = new ArrayList<>();

    static void hold() {
        for (int i = 0; i < 100; i++) {
            KEPT.add(ByteBuffer.allocateDirect(100_000));
        }
    }

    static int forget() {
        int bytes = 0;
        for (int i = 0; i < 100; i++) {
            bytes += ByteBuffer.allocateDirect(100_000).capacity();
        }
        return bytes;
    }

    public static void main(String[] arguments) throws Exception {
        hold();
        System.out.println(forget());
        System.out.flush();
        // Until stdin ends.
        while (System.in.read() >= 0) {
        }
        System.out.println(KEPT.size());
    }
}
