// fills zero|alloc|free|none: what fresh memory reads as under the options of jemalloc that say so, in all ways of getting it:
// new blocks, freed ones that come back, and what a block gains when it grows.
#include "check.h"
#include <malloc.h>

__attribute__((weak)) extern void *mallocx(size_t, int), *rallocx(void *, size_t, int);
__attribute__((weak)) extern size_t xallocx(void *, size_t, size_t, int);
static unsigned char wanted;

static void is_filled(const unsigned char *block, unsigned char value, size_t from) {
    for (size_t at = from; at < malloc_usable_size((void *)block); at++) CHECK(block[at] == value);
}

static void dirty(unsigned char *block) { memset(block, 0x77, malloc_usable_size(block)); }

static void fresh(size_t size) {
    for (int round = 0; round < 12; round++) {
        unsigned char *blocks[] = {malloc(size), memalign(64, size), calloc(1, size), valloc(size),
                                   mallocx ? mallocx(size, 0x40) : calloc(1, size)};
        for (int n = 0; n < 5; n++) {
            CHECK(blocks[n]);
            is_filled(blocks[n], n == 2 || n == 4 ? 0 : wanted, 0);
            dirty(blocks[n]);
        }
        for (int n = 0; n < 5; n++) free(blocks[n]);
    }
}

static void grown(size_t size) {
    unsigned char *block = malloc(size);
    for (int step = 0; step < 40; step++) {
        size_t before = malloc_usable_size(block), after = step % 8 == 7 ? size : before + (step % 3 ? 1 : before / 2);
        dirty(block);
        block = rallocx && step % 2 ? rallocx(block, after, 0) : realloc(block, after);
        CHECK(block);
        if (malloc_usable_size(block) > before) is_filled(block, wanted, before);
        for (size_t at = 0; at < before && at < malloc_usable_size(block); at += 7) CHECK(block[at] == 0x77);
        if (!xallocx) continue;
        before = malloc_usable_size(block);
        dirty(block);
        size_t now = xallocx(block, before + 4000, 0, 0);
        if (now > before) is_filled(block, wanted, before);
        xallocx(block, before > 30000 ? before - 9000 : before, 0, 0);
    }
    free(block);
}

int main(int argc, char **argv) {
    NEED(argc == 2);
    wanted = strcmp(argv[1], "zero") ? 0xa5 : 0;
    for (size_t size = 1; size < 300000; size = size * 3 / 2 + 5) fresh(size), grown(size);
    puts("ok");
}
