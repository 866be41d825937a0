import java.util.function.LongUnaryOperator;

/** Compiled code whose assumptions break while it runs: new subclasses, other types, rare branches, exceptions. */
class Deopt implements Storm {
    /** Has one subclass, until there is another. */
    public abstract static class Base {
        abstract long step(long number);

        final long walk(long number, int depth) {
            return depth == 0 ? Work.packed((int) number) : step(walk(number + 1, depth - 1));
        }
    }

    /** The first one. */
    public static class First extends Base {
        long step(long number) {
            return number * 3 + 1;
        }
    }

    private static final Object[] THINGS = {"text", 12, 3.5, 'c', new int[3]};

    private static long hot(Base base, int rounds, Object odd) {
        long sum = 0;
        for (int i = 0; i < rounds; i++) {
            sum += base.step(i);
            if (i % 4096 == 4095) {
                sum += base.walk(i, 12);
            }
            if (i == rounds - 1) {
                // A branch that compiled code has never seen, and a type that it does not expect.
                sum += odd.hashCode() == 0 ? 1 : 2;
                try {
                    sum += ((String) odd).length();
                } catch (ClassCastException expected) {
                    sum += 5;
                }
            }
        }
        return sum;
    }

    /** Leads to a class of a loader of its own. */
    public static class Bridge extends Base {
        final LongUnaryOperator step;

        Bridge(LongUnaryOperator step) {
            this.step = step;
        }

        long step(long number) {
            return step.applyAsLong(number);
        }
    }

    public long round(int number) throws Exception {
        Base first = new First();
        Base second = new Bridge((LongUnaryOperator) new Loaders.Loader()
            .define(Loaders.bytesOf(Loaders.Made.class)).getDeclaredConstructor().newInstance());
        long sum = 0;
        for (int i = 0; i < 3; i++) {
            sum += hot(first, 20_000, THINGS[(number + i) % THINGS.length]);
        }
        sum += hot(second, 5, THINGS[number % THINGS.length]);
        return sum + hot(first, 20_000, "again");
    }
}
