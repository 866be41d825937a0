import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.Deflater;

/** Calls libc's qsort, which calls Java back, which allocates. */
public class Foreign {
    static final List<Object> KEPT = new ArrayList<>();
    static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;

    static int compare(MemorySegment a, MemorySegment b) {
        if (KEPT.size() < 300) {
            KEPT.add(new Deflater());
        }
        return Integer.compare(a.get(INT, 0), b.get(INT, 0));
    }

    static void sort(MethodHandle qsort, MemorySegment compare, int[] numbers) throws Throwable {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment array = arena.allocateFrom(INT, numbers);
            qsort.invokeExact(array, (long) numbers.length, 4L, compare);
        }
    }

    public static void main(String[] arguments) throws Throwable {
        Linker linker = Linker.nativeLinker();
        var pointer = ValueLayout.ADDRESS.withTargetLayout(INT);
        MethodHandle qsort = linker.downcallHandle(linker.defaultLookup().find("qsort").orElseThrow(),
            FunctionDescriptor.ofVoid(ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS));
        MethodHandle compare = MethodHandles.lookup().findStatic(Foreign.class, "compare",
            MethodType.methodType(int.class, MemorySegment.class, MemorySegment.class));
        MemorySegment stub = linker.upcallStub(compare, FunctionDescriptor.of(INT, pointer, pointer), Arena.global());
        for (int i = 0; i < 2000; i++) {
            sort(qsort, stub, new int[] {5, 3, i, 9, 1, 7, 2, 8});
        }
    }
}
