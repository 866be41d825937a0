// leaker COUNT: keeps COUNT blocks of 1000 bytes, from one place, and prints its pid.
#include "check.h"

__attribute__((noinline)) static void leak(void) {
    char *volatile block = malloc(1000);
    memset(block, 1, 1000);
}

int main(int argc, char **argv) {
    for (int n = argc > 1 ? atoi(argv[1]) : 100; n > 0; n--) leak();
    dprintf(1, "%d\n", getpid());
    return 0;
}
