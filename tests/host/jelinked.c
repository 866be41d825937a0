// A program linked to libjemalloc, as Debian's redis is: it uses the extended API and mixes it with the usual one.
#include "check.h"
#include <stdbool.h>

extern void *mallocx(size_t, int), *rallocx(void *, size_t, int);
extern size_t xallocx(void *, size_t, size_t, int), sallocx(void *, int), nallocx(size_t, int);
extern void dallocx(void *, int), sdallocx(void *, size_t, int);
extern int mallctl(const char *, void *, size_t *, void *, size_t);
extern int mallctlnametomib(const char *, size_t *, size_t *);
extern int mallctlbymib(const size_t *, size_t, void *, size_t *, void *, size_t);
enum { ZERO = 0x40, TCACHE_NONE = 0x100 };

int main(void) {
    for (size_t size = 1; size < 300000; size = size * 3 + 1) {
        for (int lg = 0; lg <= 12; lg += 3) {
            unsigned char *block = mallocx(size, lg | ZERO);
            CHECK(block && (uintptr_t)block % (1 << lg) == 0 && block[size - 1] == 0);
            CHECK(sallocx(block, 0) >= size && nallocx(size, lg) >= size);
            memset(block, 7, size);
            block = rallocx(block, size * 2, lg | ZERO);
            CHECK((uintptr_t)block % (1 << lg) == 0);
            CHECK(block[0] == 7 && block[size - 1] == 7 && block[size * 2 - 1] == 0);
            CHECK(xallocx(block, size * 3, 0, lg) >= size * 2);
            lg % 2 ? dallocx(block, 0) : sdallocx(block, size * 2, lg);
        }
        free(mallocx(size, 0));
        dallocx(malloc(size), 0);
        dallocx(realloc(mallocx(size, TCACHE_NONE), size * 2), TCACHE_NONE);
        free(rallocx(malloc(size), size * 3, 0));
        sdallocx(calloc(1, size), size, 0);
    }
    // What redis asks.
    uint64_t epoch = 1;
    size_t bytes = sizeof epoch;
    CHECK(mallctl("epoch", &epoch, &bytes, &epoch, bytes) == 0);
    bool on = true;
    CHECK(mallctl("background_thread", NULL, NULL, &on, 1) == 0);
    on = false;
    CHECK(mallctl("background_thread", NULL, NULL, &on, 1) == 0);
    unsigned arenas;
    bytes = sizeof arenas;
    CHECK(mallctl("arenas.narenas", &arenas, &bytes, NULL, 0) == 0 && arenas > 0);
    size_t mib[4], length = 4;
    CHECK(mallctlnametomib("arena.0.purge", mib, &length) == 0 && length == 3);
    mib[1] = arenas;
    mallctlbymib(mib, length, NULL, NULL, NULL, 0);
    CHECK(mallctl("no.such.name", NULL, NULL, NULL, 0) == ENOENT);
    puts("ok");
}
