/* Many blocks stay alive on many stacks, while others look at the process: many BLOCKS STACKS SECONDS
 * Prints "ready" when all are there, and ends after SECONDS. With lg_prof_sample:0 each is a sample. */
#include "bench.h"
#include <unistd.h>

#define LEVELS 17

static NOINLINE long left(long path, int levels);

/* A path of LEVELS bits through two functions is a stack of its own. */
static NOINLINE long right(long path, int levels) {
    if (levels == 0) {
        return touched(40) != NULL;
    }
    return (path & 1 ? right(path >> 1, levels - 1) : left(path >> 1, levels - 1)) + 1;
}

static NOINLINE long left(long path, int levels) {
    if (levels == 0) {
        return touched(40) != NULL;
    }
    return (path & 1 ? right(path >> 1, levels - 1) : left(path >> 1, levels - 1)) + 2;
}

int main(int argc, char **argv) {
    long blocks = argument(argc, argv, 1, 1000000);
    long stacks = argument(argc, argv, 2, 10000);
    long seconds = argument(argc, argv, 3, 10);
    for (long block = 0; block < blocks; block++) {
        right(block % stacks, LEVELS);
    }
    puts("ready");
    fflush(stdout);
    for (uint64_t end = now_ns() + (uint64_t)seconds * 1000000000u; now_ns() < end;) {
        usleep(100000);
    }
    return 0;
}
