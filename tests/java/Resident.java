import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import javax.management.ObjectName;

/** Fills each class of the machine's memory, prints what native memory tracking says of it, and waits. */
public class Resident {
    static final List<Object> held = new ArrayList<>();

    /** A loader that defines its own copy of this class: metaspace. */
    static class Copies extends ClassLoader {
        Class<?> copy(byte[] bytes) {
            return defineClass("Resident$Held", bytes, 0, bytes.length);
        }
    }

    /** The class that is copied. */
    public static class Held {
        public int value;
        public long sum(long a, long b) { return value + a * 31 + b * 17 + Long.numberOfTrailingZeros(a ^ b); }
        public String text(int n) { return "held " + n + " of " + value + " and " + (n * value); }
    }

    public static void main(String[] arguments) throws Exception {
        for (int n = 0; n < 40; n++) held.add(new byte[1 << 20]);
        for (int n = 0; n < Integer.getInteger("direct", 0); n++) held.add(ByteBuffer.allocateDirect(8 << 20));
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (InputStream in = Resident.class.getResourceAsStream("Resident$Held.class")) {
            byte[] piece = new byte[4096];
            for (int read; (read = in.read(piece)) > 0; ) bytes.write(piece, 0, read);
        }
        for (int n = 0; n < 1500; n++) held.add(new Copies().copy(bytes.toByteArray()).getConstructor().newInstance());
        for (int n = 0; n < 30; n++) {
            Thread thread = new Thread(() -> {
                try {
                    Thread.sleep(1_000_000);
                } catch (InterruptedException e) {
                    return;
                }
            });
            thread.setDaemon(true);
            thread.start();
        }
        System.gc();
        ObjectName name = new ObjectName("com.sun.management:type=DiagnosticCommand");
        Object[] detail = {new String[] {"detail"}};
        String[] types = {String[].class.getName()};
        for (int n = 0; n < 2; n++) {
            System.out.println(ManagementFactory.getPlatformMBeanServer().invoke(name, "vmNativeMemory", detail, types));
            System.out.println("END");
        }
        Thread.sleep(1_000_000);
    }
}
