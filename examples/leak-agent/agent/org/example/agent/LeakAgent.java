package org.example.agent;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.util.HashMap;
import java.util.Map;
import org.example.leak.Leak;

/**
 * Entry of the agent: reads {@code counts=FILE,invoices=N,searches=N,seconds=N,quiet=SECONDS} and starts
 * the leak, after the quiet ones.
 * The file is opened here, before the host's main class runs: later a security manager would refuse it.
 */
public final class LeakAgent {
    private LeakAgent() {
    }

    public static void premain(String arguments) throws IOException {
        Map<String, String> options = parse(arguments);
        RandomAccessFile counts = new RandomAccessFile(options.get("counts"), "rw");
        int seconds = number(options, "seconds");
        int quiet = options.containsKey("quiet") ? number(options, "quiet") : 0;
        new Leak(counts, quiet, seconds, number(options, "invoices"), number(options, "searches")).start();
    }

    private static int number(Map<String, String> options, String key) {
        return Integer.parseInt(options.get(key));
    }

    private static Map<String, String> parse(String arguments) {
        Map<String, String> options = new HashMap<>();
        for (String pair : arguments.split(",")) {
            int equals = pair.indexOf('=');
            if (equals < 0) {
                throw new IllegalArgumentException("leak-agent: '" + pair + "' is not key=value");
            }
            options.put(pair.substring(0, equals), pair.substring(equals + 1));
        }
        return options;
    }
}
