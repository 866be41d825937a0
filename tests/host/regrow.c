// A buffer that grows by small steps, as getdelim, obstacks and string buffers grow, and reallocs to the size that it has:
// neither may copy the buffer each time.
#include "check.h"

int main(void) {
    size_t start = 4 << 20, end = 16 << 20, step = 16 << 10;
    unsigned moved = 0;
    char *block = malloc(start);
    CHECK(block);
    memset(block, 1, start);
    for (size_t size = start; size < end; size += step) {
        char *grown = realloc(block, size + step);
        CHECK(grown && grown[0] == 1 && grown[size - 1] == 1);
        moved += grown != block;
        // A few moves are an allocator's own business.
        CHECK(moved < 100);
        block = grown;
        memset(block + size, 1, step);
    }
    moved = 0;
    for (int n = 0; n < 200; n++) {
        char *same = realloc(block, end - n % 2);
        CHECK(same && same[end - 2] == 1);
        moved += same != block;
        block = same;
    }
    CHECK(moved <= 2);
    for (size_t at = 0; at < end; at += 4096) CHECK(block[at] == 1);
    free(block);
    // At each size: the same once more.
    for (size_t size = 1; size <= 32 << 20; size = size * 4 + 1) {
        char *one = malloc(size), *other;
        CHECK(one);
        moved = 0;
        for (int n = 0; n < 100; n++, one = other) {
            CHECK((other = realloc(one, size)));
            // A small block may have to move to where sampled ones are, once; some samplers move it each time.
            moved += other != one && size >= 1 << 20;
        }
        CHECK(moved <= 1);
        free(one);
    }
    puts("ok");
}
