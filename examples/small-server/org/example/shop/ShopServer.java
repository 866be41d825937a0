package org.example.shop;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;
import java.util.zip.GZIPInputStream;

/** A server with a bulk and a search request; it keeps the latest documents, compressed, in memory. */
public final class ShopServer {
    private final Store store = new Store();

    private ShopServer() {
    }

    /** {@code --port N --pid FILE}; the pid file appears when requests are answered. */
    public static void main(String[] arguments) throws IOException {
        int port = Integer.parseInt(option(arguments, "--port"));
        HttpServer http = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 64);
        http.createContext("/", new ShopServer()::answer);
        http.setExecutor(Executors.newFixedThreadPool(4));
        http.start();
        Files.writeString(Path.of(option(arguments, "--pid")), Long.toString(ProcessHandle.current().pid()));
    }

    private static String option(String[] arguments, String name) {
        for (int i = 0; i + 1 < arguments.length; i++) {
            if (arguments[i].equals(name)) {
                return arguments[i + 1];
            }
        }
        throw new IllegalArgumentException("missing " + name);
    }

    private void answer(HttpExchange exchange) throws IOException {
        String body = read(exchange);
        String path = exchange.getRequestURI().getPath();
        if (path.endsWith("/_bulk")) {
            store.add(body.lines().collect(Collectors.toList()));
            send(exchange, 200, "{\"errors\":false}");
        } else if (path.endsWith("/_search")) {
            send(exchange, 200, "{\"hits\":{\"total\":{\"value\":" + store.count(lastWord(body)) + "}}}");
        } else if (path.startsWith("/_cluster/health") || exchange.getRequestMethod().equals("PUT")) {
            send(exchange, 200, "{\"status\":\"green\"}");
        } else {
            send(exchange, 404, "{\"error\":\"nothing here\"}");
        }
    }

    /** The last word between quotes: of {@code {"query":{"match":{"text":"apple"}}}} it is apple. */
    private static String lastWord(String query) {
        int end = query.lastIndexOf('"');
        return query.substring(query.lastIndexOf('"', end - 1) + 1, end);
    }

    private static String read(HttpExchange exchange) throws IOException {
        boolean packed = "gzip".equals(exchange.getRequestHeaders().getFirst("Content-Encoding"));
        try (InputStream raw = exchange.getRequestBody();
                InputStream plain = packed ? new GZIPInputStream(raw) : raw) {
            return new String(plain.readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    private static void send(HttpExchange exchange, int status, String json) throws IOException {
        byte[] bytes = json.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().add("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, bytes.length);
        try (OutputStream body = exchange.getResponseBody()) {
            body.write(bytes);
        }
    }
}
