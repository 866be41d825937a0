import java.io.RandomAccessFile;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Maps the files of an index, starts threads that do not end, and waits. */
public class Mapped {
    static final List<Object> held = new ArrayList<>();

    /** A pool that forgets its threads. */
    static class Pool implements Runnable {
        @Override
        public void run() {
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
        }
    }

    static void openIndex(Path folder, int number) throws Exception {
        // As Lucene counts its segments.
        Path path = folder.resolve("_" + Integer.toString(number + 30, 36) + ".cfs");
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
            file.setLength(4 << 20);
            MappedByteBuffer buffer = file.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, 4 << 20);
            for (int at = 0; at < 2 << 20; at += 4096) buffer.put(at, (byte) 1);
            held.add(buffer);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Path folder = Files.createTempDirectory(new java.io.File(arguments[0]).toPath(), "index");
        for (int n = 0; n < 16; n++) openIndex(folder, n);
        Thread starter = new Thread(new Pool());
        starter.start();
        starter.join();
        System.out.println("ready");
        System.in.read();
    }
}
