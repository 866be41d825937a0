// The extended API's promises (jemalloc(3)), in the ways that jemalloc's own tests ask for them.
#include "check.h"
#include <stdbool.h>
#include <stdint.h>

extern void *mallocx(size_t, int), *rallocx(void *, size_t, int);
extern size_t xallocx(void *, size_t, size_t, int), sallocx(void *, int), nallocx(size_t, int);
extern void dallocx(void *, int), sdallocx(void *, size_t, int);
extern int mallctl(const char *, void *, size_t *, void *, size_t);
enum { ZERO = 0x40, TCACHE_NONE = 0x100 };
#define ARENA(index) (((int)(index) + 1) << 20)

static bool holds(const unsigned char *block, unsigned char value, size_t from, size_t to) {
    for (size_t at = from; at < to; at++)
        if (block[at] != value) return false;
    return true;
}

static size_t largest(void) {
    unsigned classes;
    size_t bytes = sizeof classes, size;
    CHECK(mallctl("arenas.nlextents", &classes, &bytes, NULL, 0) == 0);
    char name[60];
    snprintf(name, sizeof name, "arenas.lextent.%u.size", classes - 1);
    bytes = sizeof size;
    CHECK(mallctl(name, &size, &bytes, NULL, 0) == 0);
    return size;
}

static void too_much(void) {
    volatile size_t beyond = largest() + 1, half = (size_t)PTRDIFF_MAX + 1, most = SIZE_MAX;
    CHECK(!mallocx(beyond, 0) && !mallocx(half, 0) && !mallocx(most, 0) && !mallocx(1, 63));
    CHECK(nallocx(beyond, 0) == 0 && nallocx(most, 0) == 0);
    void *block = mallocx(1, 0);
    CHECK(!rallocx(block, beyond, 0) && !rallocx(block, half, 0) && !rallocx(block, most, 0) && !rallocx(block, 1, 63));
    CHECK(xallocx(block, 1, most - 1, 0) >= 1);
    dallocx(block, 0);
}

static void sizes(void) {
    for (size_t size = 1; size < 1 << 20; size = size * 5 / 4 + 1) {
        for (int flags = 0; flags <= 14; flags += 7) {
            size_t told = nallocx(size, flags);
            unsigned char *block = mallocx(size, flags);
            size_t real = sallocx(block, flags);
            CHECK(told >= size && real >= size && (uintptr_t)block % (1 << flags) == 0);
            // With an alignment of its own a sampled block may have more.
            CHECK(flags ? real >= told : real == told);
            memset(block, 1, real);
            CHECK(xallocx(block, real, 0, flags) == real && xallocx(block, size, 0, flags) >= size);
            size % 2 ? sdallocx(block, size, flags) : dallocx(block, flags);
            block = mallocx(size, flags | ZERO);
            CHECK(holds(block, 0, 0, sallocx(block, 0)));
            memset(block, 0xaa, sallocx(block, 0));
            dallocx(block, 0);
        }
    }
}

static void zeros_of_grown_blocks(void) {
    size_t starts[] = {1, 3 * 1024, 63 * 1024, 4095 * 1024};
    for (int n = 0; n < 4; n++) {
        unsigned char *block = mallocx(starts[n], ZERO);
        size_t before = sallocx(block, 0);
        CHECK(holds(block, 0, 0, before));
        memset(block, 0xee, before);
        for (int step = 0; step < 6; step++) {
            unsigned char *grown = rallocx(block, before + 2 + step * 1000, ZERO);
            size_t after = sallocx(grown, 0);
            CHECK(holds(grown, 0xee, 0, before) && holds(grown, 0, before, after));
            memset(grown, 0xee, after);
            block = grown, before = after;
        }
        unsigned char *smaller = rallocx(block, 1, 0);
        CHECK(smaller[0] == 0xee);
        dallocx(smaller, 0);
    }
}

static void arenas_of_ones_own(void) {
    unsigned arena, found;
    size_t bytes = sizeof arena;
    CHECK(mallctl("arenas.create", &arena, &bytes, NULL, 0) == 0);
    for (size_t size = 1; size < 100000; size *= 3) {
        void *block = mallocx(size, ARENA(arena) | TCACHE_NONE);
        bytes = sizeof found;
        CHECK(block && mallctl("arenas.lookup", &found, &bytes, &block, sizeof block) == 0 && found == arena);
        block = rallocx(block, size * 2, ARENA(arena) | TCACHE_NONE);
        CHECK(mallctl("arenas.lookup", &found, &bytes, &block, sizeof block) == 0 && found == arena);
        // A usual block moves into the arena when asked to.
        void *usual = rallocx(malloc(size), 300000 + size, ARENA(arena) | TCACHE_NONE);
        CHECK(usual);
        dallocx(usual, TCACHE_NONE), dallocx(block, TCACHE_NONE);
    }
    bytes = sizeof found;
    CHECK(mallctl("thread.arena", &found, &bytes, &arena, sizeof arena) == 0);
    bool on = false, was;
    bytes = sizeof was;
    CHECK(mallctl("thread.tcache.enabled", &was, &bytes, &on, sizeof on) == 0 && was);
    churn(500);
    CHECK(mallctl("thread.tcache.enabled", &on, &bytes, &was, sizeof was) == 0 && !on);
}

int main(void) {
    too_much();
    sizes();
    zeros_of_grown_blocks();
    arenas_of_ones_own();
    puts("ok");
}
