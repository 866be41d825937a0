// leaker COUNT [SECONDS]: keeps COUNT blocks of 1000 bytes, from one place, over so many seconds, and prints its pid.
#include "check.h"

__attribute__((noinline)) static void leak(void) {
    char *volatile block = malloc(1000);
    memset(block, 1, 1000);
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 100, pause = argc > 2 ? atoi(argv[2]) * 1000000 / count : 0;
    for (int n = count; n > 0; n--) {
        leak();
        if (pause) usleep(pause);
    }
    dprintf(1, "%d\n", getpid());
    return 0;
}
