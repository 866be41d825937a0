import com.github.luben.zstd.ZstdCompressCtx;
import com.sun.jna.Memory;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.zip.Inflater;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.ColumnFamilyOptions;
import org.rocksdb.LRUCache;
import org.rocksdb.RocksDB;

/** Leaks by several libraries at once; what each of them allocates is held by a field of a class of its own. */
public class Libraries {
    static final int EACH = 24;

    /** Direct buffers, which a static map never forgets. */
    static class Responses {
        static final Map<Integer, ByteBuffer> SEEN = new HashMap<>();

        static void keep() {
            for (int i = 0; i < EACH; i++) {
                SEEN.put(i, ByteBuffer.allocateDirect(60_000));
            }
        }
    }

    /** Inflaters that nobody ends, in a list. */
    static class Unpacker {
        static final Unpacker ONLY = new Unpacker();
        final List<Inflater> inflaters = new ArrayList<>();

        void unpack() throws Exception {
            for (int i = 0; i < EACH; i++) {
                Inflater inflater = new Inflater();
                inflaters.add(inflater);
                inflater.setInput(new byte[] {120, -100, 75, 4, 0});
                inflater.inflate(new byte[8]);
            }
        }
    }

    /** Contexts of zstd that nobody closes, in an array. */
    static class Packer {
        static final ZstdCompressCtx[] CONTEXTS = new ZstdCompressCtx[EACH];

        static void pack() {
            for (int i = 0; i < EACH; i++) {
                CONTEXTS[i] = new ZstdCompressCtx();
                CONTEXTS[i].setLevel(1);
                CONTEXTS[i].compress(new byte[1000]);
            }
        }
    }

    /** Options of RocksDB that nobody closes: each alone keeps a cache, whose own handle was closed. */
    static class Store implements AutoCloseable {
        static final Map<String, Store> OPEN = new ConcurrentHashMap<>();
        final ColumnFamilyOptions options = new ColumnFamilyOptions();

        static void open() {
            for (int i = 0; i < EACH; i++) {
                Store store = new Store();
                OPEN.put("store " + i, store);
                store.useCache();
            }
        }

        @Override
        public void close() {
            options.close();
        }

        void useCache() {
            try (LRUCache cache = new LRUCache(1 << 20)) {
                options.setTableFormatConfig(new BlockBasedTableConfig().setBlockCache(cache));
            }
        }
    }

    /** Options that nobody closes and nobody has: RocksDB's objects have no finalizer. */
    static class Dropped {
        static boolean drop() {
            boolean own = true;
            for (int i = 0; i < 4 * EACH; i++) {
                own &= new ColumnFamilyOptions().isOwningHandle();
            }
            return own;
        }
    }

    /** Memory of JNA, the values of a map. */
    static class Natives {
        static final Map<Integer, Memory> CALLS = new LinkedHashMap<>();

        static void call() {
            for (int i = 0; i < EACH; i++) {
                CALLS.put(i, new Memory(30_000));
            }
        }
    }

    /** Arenas of the foreign memory interface that nobody closes, from JDK 22 on. */
    static class Foreigns {
        static final List<Object> ARENAS = new ArrayList<>();

        static void allocate() throws Exception {
            Class<?> arena = Class.forName("java.lang.foreign.Arena");
            for (int i = 0; i < EACH; i++) {
                Object one = arena.getMethod("ofShared").invoke(null);
                ARENAS.add(one);
                arena.getMethod("allocate", long.class).invoke(one, 20_000L);
            }
        }

        static void use() throws Exception {
            Class<?> arena = Class.forName("java.lang.foreign.Arena");
            Object one = arena.getMethod("ofShared").invoke(null);
            arena.getMethod("allocate", long.class).invoke(one, 20L);
            arena.getMethod("close").invoke(one);
        }
    }

    public static void main(String[] arguments) throws Exception {
        RocksDB.loadLibrary();
        // What the loading of their classes and native parts allocates is not what is leaked.
        new ZstdCompressCtx().close();
        new Memory(8);
        try (Store store = new Store()) {
            store.useCache();
        }
        if (arguments.length > 0) {
            Foreigns.use();
        }
        Responses.keep();
        Unpacker.ONLY.unpack();
        Packer.pack();
        Store.open();
        Natives.call();
        boolean dropped = Dropped.drop();
        if (arguments.length > 0) {
            Foreigns.allocate();
        }
        Thread.sleep(2_500);
        System.out.println("ready");
        System.out.flush();
        // Until stdin ends.
        while (System.in.read() >= 0) {
        }
        System.out.println(Responses.SEEN.size() + Unpacker.ONLY.inflaters.size() + Packer.CONTEXTS.length
            + Store.OPEN.size() + (dropped ? 1 : 0) + Natives.CALLS.size() + Foreigns.ARENAS.size());
    }
}
