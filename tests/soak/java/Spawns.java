import java.io.InputStream;

/** Other processes, started and read to their end. */
class Spawns implements Storm {
    public long round(int number) throws Exception {
        ProcessBuilder builder = new ProcessBuilder("/bin/sh", "-c", "printf %s " + number + "; exit " + number % 5);
        builder.redirectError(new java.io.File("/dev/null"));
        Process process = builder.start();
        long sum = 0;
        try (InputStream in = process.getInputStream()) {
            for (int one = in.read(); one >= 0; one = in.read()) {
                sum = sum * 31 + one;
            }
        }
        return sum + process.waitFor();
    }
}
