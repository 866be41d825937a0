/** Deep recursion, to the end of the stack and back, with native memory at all depths. */
class Recursion implements Storm {
    static volatile int deepest;

    static long down(int depth, int seed) {
        long below = depth == 0 ? 0 : down(depth - 1, seed);
        return below * 3 + (depth % 97 == 0 ? Work.packed(seed + depth) : depth);
    }

    /** Never returns but by the end of the stack. */
    static long forever(int depth) {
        deepest = depth;
        if (depth % 211 == 0) {
            Work.packed(depth);
        }
        return forever(depth + 1) + 1;
    }

    public long round(int number) throws Exception {
        long[] result = new long[1];
        Thread thread = new Thread(null, () -> {
            result[0] = down(2000 + number % 7 * 100, number);
            try {
                forever(0);
            } catch (StackOverflowError expected) {
                result[0] += 1;
            } catch (NoClassDefFoundError | IllegalStateException alsoTheEnd) {
                result[0] += 1;
            }
        }, "deep", 2 << 20);
        thread.setDaemon(true);
        thread.start();
        thread.join();
        return result[0];
    }
}
