import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Array;
import java.lang.reflect.Method;
import java.util.function.LongUnaryOperator;

/** Classes without a name: hidden ones where the JDK has them (15 and later), and the forms of method handles. */
class Hidden implements Storm {
    /** Becomes a hidden class. */
    public static class Template implements LongUnaryOperator {
        public long applyAsLong(long number) {
            return Work.packed((int) number) + 1;
        }
    }

    private final byte[] template = Loaders.bytesOf(Template.class);
    private final Method define = find();

    private static Method find() {
        for (Method method : MethodHandles.Lookup.class.getMethods()) {
            if (method.getName().equals("defineHiddenClass")) {
                return method;
            }
        }
        return null;
    }

    private LongUnaryOperator make() throws Exception {
        if (define == null) {
            return (LongUnaryOperator) new Loaders.Loader().define(template).getDeclaredConstructor().newInstance();
        }
        Object none = Array.newInstance(define.getParameterTypes()[2].getComponentType(), 0);
        MethodHandles.Lookup made = (MethodHandles.Lookup) define.invoke(MethodHandles.lookup(), template, true, none);
        return (LongUnaryOperator) made.lookupClass().getDeclaredConstructor().newInstance();
    }

    static long twice(long number) {
        return 2 * number + Work.packed((int) number);
    }

    public long round(int number) throws Exception {
        long sum = 0;
        for (int i = 0; i < 10; i++) {
            sum += make().applyAsLong(number + i);
        }
        MethodHandles.Lookup lookup = MethodHandles.lookup();
        MethodHandle twice = lookup.findStatic(Hidden.class, "twice", MethodType.methodType(long.class, long.class));
        for (int i = 0; i < 20; i++) {
            // New forms each round: bound arguments, dropped ones, other types.
            MethodHandle form = MethodHandles.dropArguments(twice, i & 1, i % 3 == 0 ? String.class : Object.class, int.class);
            MethodHandle bound = MethodHandles.insertArguments(form, (i & 1) == 0 ? 1 : 2, i);
            try {
                sum += (long) bound.invokeWithArguments((i & 1) == 0 ? new Object[] {"x", (long) number} : new Object[] {(long) number, "x"});
            } catch (RuntimeException | Error trouble) {
                throw trouble;
            } catch (Throwable trouble) {
                throw new IllegalStateException(trouble);
            }
            int own = i;
            LongUnaryOperator lambda = value -> value * own + Work.packed(own);
            sum += lambda.applyAsLong(number);
        }
        return sum;
    }
}
