import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/** What servers do: threads, garbage for the collector, compression, direct buffers, a child process, a shutdown hook. */
public class Everyday {
    static byte[] text(int lines) {
        StringBuilder builder = new StringBuilder();
        for (int i = 0; i < lines; i++) {
            builder.append("line ").append(i * 7919 % 1000).append('\n');
        }
        return builder.toString().getBytes(StandardCharsets.UTF_8);
    }

    static int thereAndBack(byte[] text) throws Exception {
        Deflater deflater = new Deflater();
        deflater.setInput(text);
        deflater.finish();
        byte[] packed = new byte[text.length + 100];
        int length = deflater.deflate(packed);
        deflater.end();
        Inflater inflater = new Inflater();
        inflater.setInput(packed, 0, length);
        ByteBuffer direct = ByteBuffer.allocateDirect(text.length);
        int back = inflater.inflate(direct);
        inflater.end();
        return back == text.length && direct.get(5) == text[5] ? length : -1;
    }

    static int garbage(int rounds) {
        Map<Integer, List<String>> kept = new TreeMap<>();
        for (int i = 0; i < rounds; i++) {
            kept.computeIfAbsent(i % 97, key -> new ArrayList<>()).add("value " + i);
            if (i % 5000 == 0) {
                kept.clear();
            }
        }
        return kept.values().stream().mapToInt(List::size).sum();
    }

    public static void main(String[] arguments) throws Exception {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook")));
        ExecutorService threads = Executors.newFixedThreadPool(4);
        List<Future<Integer>> results = new ArrayList<>();
        for (int i = 1; i <= 16; i++) {
            int size = i * 300;
            results.add(threads.submit(() -> thereAndBack(text(size)) + garbage(size * 20)));
        }
        for (Future<Integer> result : results) {
            System.out.println(result.get());
        }
        threads.shutdown();
        System.gc();
        if (arguments.length > 0) {
            Process child = new ProcessBuilder(arguments).redirectErrorStream(true).start();
            System.out.print(new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
            System.out.println("child " + child.waitFor());
        }
        System.exit(0);
    }
}
