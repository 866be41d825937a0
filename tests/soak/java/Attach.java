/** Native threads that attach themselves, call back, throw and detach; native frames without unwind tables. */
class Attach implements Storm {
    static {
        System.loadLibrary("callers");
    }

    /** So many native threads call {@link #back}; the sum of what it returned to them. */
    static native long threads(int count, int number);

    /** Calls {@link #back} from below native frames, with what it throws taken off there. */
    static native long through(int depth, int number);

    static long back(int number) throws Exception {
        long sum = Work.pack(number);
        if (number % 5 == 0) {
            throw new IllegalStateException("for the native code");
        }
        return number % 3 == 0 && number > 0 ? sum + through(2, number - 1) : sum;
    }

    public long round(int number) throws Exception {
        return threads(8, number) + through(number % 20, number);
    }
}
