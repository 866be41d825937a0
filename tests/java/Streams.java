import java.io.File;
import java.time.Duration;
import java.time.Instant;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.kstream.TimeWindows;

/** A Kafka Streams application whose tasks come and go, as they do with rebalances: each opens its RocksDB stores anew. */
public class Streams {
    static Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        var orders = builder.<String, String>stream("orders").groupByKey();
        orders.count();
        orders.windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(10))).count();
        return builder.build();
    }

    static void live(Topology topology, Properties settings, int number) {
        try (TopologyTestDriver driver = new TopologyTestDriver(topology, settings, Instant.EPOCH)) {
            TestInputTopic<String, String> orders =
                driver.createInputTopic("orders", new StringSerializer(), new StringSerializer());
            for (int i = 0; i < 100; i++) {
                orders.pipeInput("customer " + i, "order " + number, i * 30_000L);
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        int seconds = Integer.parseInt(arguments[0]);
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "shop");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "127.0.0.1:9");
        settings.put(StreamsConfig.STATE_DIR_CONFIG, new File("state").getAbsolutePath());
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        Topology topology = topology();
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        int lives = 0;
        while (System.nanoTime() < end) {
            live(topology, settings, lives++);
        }
        System.out.println("ready after " + lives);
        System.out.flush();
        // Until stdin ends.
        while (System.in.read() >= 0) {
        }
    }
}
