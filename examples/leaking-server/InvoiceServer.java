import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.zip.GZIPOutputStream;

/** A server that leaks: each invoice leaves a compressor open, which is 262 KiB of native memory and few bytes of heap. */
public final class InvoiceServer {
    private final Map<Integer, GZIPOutputStream> open = new ConcurrentHashMap<>();
    private final AtomicInteger number = new AtomicInteger();

    public static void main(String[] arguments) throws IOException {
        int port = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 8080;
        HttpServer http = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 64);
        http.createContext("/invoice", new InvoiceServer()::answer);
        http.setExecutor(Executors.newFixedThreadPool(4));
        http.start();
        System.out.println("pid " + ProcessHandle.current().pid() + ", port " + port);
    }

    private void answer(HttpExchange exchange) throws IOException {
        byte[] text = archive("invoice for one bicycle").getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(200, text.length);
        exchange.getResponseBody().write(text);
        exchange.close();
    }

    /** The bug: the stream is finished, but never closed, and stays in the map. */
    private String archive(String text) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        GZIPOutputStream stream = new GZIPOutputStream(bytes);
        stream.write(text.getBytes(StandardCharsets.UTF_8));
        stream.finish();
        open.put(number.incrementAndGet(), stream);
        return "archived in " + bytes.size() + " bytes\n";
    }
}
