import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;

/** Foreign functions (JDK 22 and later): calls down, calls back up from qsort, arenas of all kinds. */
class Ffm implements Storm {
    private static final Linker LINKER = Linker.nativeLinker();
    private static final FunctionDescriptor COMPARE = FunctionDescriptor.of(ValueLayout.JAVA_INT,
        ValueLayout.ADDRESS.withTargetLayout(ValueLayout.JAVA_INT), ValueLayout.ADDRESS.withTargetLayout(ValueLayout.JAVA_INT));
    private static final MethodHandle QSORT = find("qsort", FunctionDescriptor.ofVoid(
        ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS));
    private static final MethodHandle STRLEN = find("strlen", FunctionDescriptor.of(ValueLayout.JAVA_LONG, ValueLayout.ADDRESS));

    private static MethodHandle find(String name, FunctionDescriptor form, Linker.Option... options) {
        return LINKER.downcallHandle(LINKER.defaultLookup().find(name).orElseThrow(), form, options);
    }

    static int compare(MemorySegment left, MemorySegment right) {
        int one = left.get(ValueLayout.JAVA_INT, 0);
        if (one % 16 == 0) {
            Work.packed(one & 1023);
        }
        return Integer.compare(one, right.get(ValueLayout.JAVA_INT, 0));
    }

    public long round(int number) throws Exception {
        long sum = 0;
        try (Arena arena = number % 2 == 0 ? Arena.ofConfined() : Arena.ofShared()) {
            MethodHandle target = MethodHandles.lookup().findStatic(Ffm.class, "compare",
                MethodType.methodType(int.class, MemorySegment.class, MemorySegment.class));
            // A stub of its own each round.
            MemorySegment stub = LINKER.upcallStub(target, COMPARE, arena);
            MemorySegment numbers = arena.allocate(ValueLayout.JAVA_INT, 200);
            for (int i = 0; i < 200; i++) {
                numbers.setAtIndex(ValueLayout.JAVA_INT, i, (i * 7919 + number * 31) % 1000);
            }
            QSORT.invokeExact(numbers, 200L, 4L, stub);
            for (int i = 0; i < 200; i++) {
                sum = sum * 3 + numbers.getAtIndex(ValueLayout.JAVA_INT, i);
            }
            sum += (long) STRLEN.invokeExact(arena.allocateFrom("x".repeat(number % 300)));
            Arena.ofAuto().allocate(5000).set(ValueLayout.JAVA_BYTE, 4999, (byte) 1);
        } catch (RuntimeException | Error | ReflectiveOperationException trouble) {
            throw trouble;
        } catch (Throwable trouble) {
            throw new IllegalStateException(trouble);
        }
        return sum;
    }
}
