import java.nio.ByteBuffer;

/** Direct buffers of all sizes, written, read, sliced, and left to the collector. */
class Direct implements Storm {
    private final ByteBuffer[] kept = new ByteBuffer[32];

    public long round(int number) throws Exception {
        long sum = 0;
        for (int i = 0; i < 100; i++) {
            int size = 1 + (number * 31 + i * 977) % 70_000;
            ByteBuffer buffer = ByteBuffer.allocateDirect(size);
            buffer.put(size - 1, (byte) i).put(size / 2, (byte) number);
            sum += buffer.get(size - 1) + buffer.get(size / 2) + buffer.duplicate().remaining();
            kept[i % kept.length] = buffer;
        }
        if (number % 16 == 0) {
            System.gc();
        }
        return sum;
    }
}
