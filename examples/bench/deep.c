/* malloc and free of 40 bytes under DEPTH frames of different functions: deep COUNT [DEPTH] (0 to 64)
 * Compiled without frame pointers, so that unwinders must know the tables. */
#include "bench.h"

static NOINLINE long level0(long count) {
    for (long i = 0; i < count; i++) {
        free(touched(40));
    }
    return count;
}

/* Something remains to be done after the call, so that it cannot become a jump. */
#define LEVEL(n, below) static NOINLINE long level##n(long count) { return level##below(count) + n; }
#define TEN(t, below) \
    LEVEL(t##0, below) LEVEL(t##1, t##0) LEVEL(t##2, t##1) LEVEL(t##3, t##2) LEVEL(t##4, t##3) \
    LEVEL(t##5, t##4) LEVEL(t##6, t##5) LEVEL(t##7, t##6) LEVEL(t##8, t##7) LEVEL(t##9, t##8)

LEVEL(1, 0) LEVEL(2, 1) LEVEL(3, 2) LEVEL(4, 3) LEVEL(5, 4) LEVEL(6, 5) LEVEL(7, 6) LEVEL(8, 7) LEVEL(9, 8)
TEN(1, 9) TEN(2, 19) TEN(3, 29) TEN(4, 39) TEN(5, 49)
LEVEL(60, 59) LEVEL(61, 60) LEVEL(62, 61) LEVEL(63, 62) LEVEL(64, 63)

#define NAMES(t) \
    level##t##0, level##t##1, level##t##2, level##t##3, level##t##4, level##t##5, level##t##6, level##t##7, level##t##8, level##t##9

static long (*const levels[])(long) = {
    level0, level1, level2, level3, level4, level5, level6, level7, level8, level9,
    NAMES(1), NAMES(2), NAMES(3), NAMES(4), NAMES(5), level60, level61, level62, level63, level64,
};

int main(int argc, char **argv) {
    long depth = argument(argc, argv, 2, 30);
    return levels[depth < 0 || depth > 64 ? 64 : depth](argument(argc, argv, 1, 1000000)) == 0;
}
