/** Overwrites references of old objects by young ones, so that compiled code calls the collector's barriers. */
public class Barriers {
    static final Object[] OLD = new Object[1 << 18];

    static void overwrite(int round) {
        for (int i = 0; i < OLD.length; i++) {
            OLD[i] = new byte[16 + (round & 1)];
        }
    }

    public static void main(String[] arguments) {
        for (int round = 0; round < 40; round++) {
            overwrite(round);
        }
    }
}
