import java.util.zip.Deflater;
import java.util.zip.Inflater;

/** Ends in the middle of its threads' work: java Ends exit|halt|term|return. */
public class Ends {
    static volatile int sink;

    static void work() {
        while (true) {
            new Inflater().end();
            Deflater deflater = new Deflater(1);
            deflater.setInput(new byte[100]);
            deflater.finish();
            sink += deflater.deflate(new byte[200]);
            deflater.end();
            Runnable step = () -> sink++;
            step.run();
        }
    }

    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < 3; i++) {
            Thread thread = new Thread(Ends::work, "worker-" + i);
            thread.setDaemon(true);
            thread.start();
        }
        Thread.sleep(300);
        switch (arguments[0]) {
            case "exit":
                System.exit(3);
                break;
            case "halt":
                Runtime.getRuntime().halt(4);
                break;
            case "term":
                sun.misc.Signal.raise(new sun.misc.Signal("TERM"));
                Thread.sleep(60_000);
                break;
            default:
                break;
        }
    }
}
