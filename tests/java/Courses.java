import java.util.zip.Inflater;

/**
 * Two courses of native memory, one a mode, until it is killed: `leak` forgets an Inflater each 10 ms in
 * `Courses.unpackAndForget`; `steady` ends each of them, and has some in flight.
 */
public class Courses {
    static void unpackAndForget() {
        inflate(new Inflater());
    }

    static void unpackAndEnd(Inflater[] flying, int turn) {
        int place = turn % flying.length;
        if (flying[place] != null) flying[place].end();
        flying[place] = new Inflater();
        inflate(flying[place]);
    }

    private static void inflate(Inflater inflater) {
        try {
            inflater.setInput(new byte[] {0x78, (byte) 0x9c, 1, 4, 0, -5, -1, 1, 2, 3});
            inflater.inflate(new byte[100]);
        } catch (java.util.zip.DataFormatException error) {
            throw new IllegalStateException(error);
        }
    }

    public static void main(String[] arguments) throws InterruptedException {
        boolean leaks = arguments[0].equals("leak");
        Inflater[] flying = new Inflater[50];
        for (int turn = 0; ; turn++) {
            if (leaks) unpackAndForget();
            else unpackAndEnd(flying, turn);
            Thread.sleep(10);
        }
    }
}
