/** Leaks as Leaks does, after five seconds: by then a helper thread has seen which libraries were opened. */
public class Later {
    public static void main(String[] arguments) throws Exception {
        Thread.sleep(5_000);
        Leaks.main(arguments);
    }
}
