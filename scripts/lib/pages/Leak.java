import java.util.ArrayList;
import java.util.List;
import java.util.zip.Deflater;

/** Leaks compressors: java Leak.java SECONDS. Each second some megabytes are kept, and more come and go. */
public class Leak {
    static final List<Deflater> KEPT = new ArrayList<>();

    static void forget() {
        KEPT.add(new Deflater());
    }

    static void work() {
        new Deflater().end();
    }

    public static void main(String[] arguments) throws InterruptedException {
        for (int turn = 0; turn < Integer.parseInt(arguments[0]) * 10; turn++) {
            forget();
            for (int n = 0; n < 8; n++) {
                work();
            }
            Thread.sleep(100);
        }
    }
}
