// A stack of 50,000 frames allocates at the bottom, and on the way.
#include "check.h"

__attribute__((noinline)) static int deeper(int depth) {
    volatile char frame[64];
    frame[0] = 1;
    if (depth % 500 == 0) free(malloc(depth + 1));
    return depth == 0 ? 0 : deeper(depth - 1) + frame[0];
}

int main(void) {
    for (int n = 0; n < 3; n++) CHECK(deeper(50000) == 50000);
    puts("ok");
}
