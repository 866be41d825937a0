// Leaks 1000 blocks of 1000 bytes, says so, and waits for a line, until its input ends. Between the lines it allocates
// nothing, so whoever reads it meanwhile must find exactly that.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 1000, BYTES = 1000 };

__attribute__((noinline)) static void forget(void) {
    void *volatile block = malloc(BYTES);
    if (!block) exit(1);
    memset(block, 1, BYTES);
}

__attribute__((noinline)) static void serve(void) {
    for (int n = 0; n < BLOCKS; n++) forget();
}

int main(void) {
    char line[8];
    do {
        serve();
        if (write(1, "forgotten\n", 10) != 10) return 1;
    } while (read(0, line, sizeof line) > 0);
    return 0;
}
