// Requests that cannot be served, in all ways of asking; then 64 MiB that are. Only these are an allocation.
#include "check.h"
#include <malloc.h>

__attribute__((weak)) extern void *mallocx(size_t, int), *rallocx(void *, size_t, int);
__attribute__((weak)) extern size_t xallocx(void *, size_t, size_t, int);
extern void *reallocarray(void *, size_t, size_t);

#define FAILS(call)                              \
    do {                                         \
        errno = 0;                               \
        CHECK((call) == NULL && errno == ENOMEM); \
    } while (0)

static void fail(volatile size_t size) {
    void *place = &place, *block = malloc(1000), *large = malloc(300000), *p = &p;
    memset(block, 0x33, 1000), memset(large, 0x44, 300000);
    FAILS(malloc(size));
    FAILS(calloc(1, size));
    FAILS(calloc(size, size));
    FAILS(realloc(NULL, size));
    FAILS(realloc(block, size));
    FAILS(realloc(large, size));
    FAILS(reallocarray(block, 1, size));
    FAILS(reallocarray(large, size, size));
    FAILS(memalign(64, size));
    FAILS(aligned_alloc(4096, size));
    FAILS(valloc(size));
    FAILS(pvalloc(size));
    CHECK(posix_memalign(&p, 64, size) == ENOMEM && p == &p);
    if (mallocx) {
        CHECK(!mallocx(size, 0) && !mallocx(size, 0x46) && !rallocx(block, size, 0) && !rallocx(large, size, 0x40));
        CHECK(xallocx(large, size, 0, 0) == malloc_usable_size(large));
    }
    for (int at = 0; at < 1000; at++) CHECK(((char *)block)[at] == 0x33);
    for (int at = 0; at < 300000; at++) CHECK(((char *)large)[at] == 0x44);
    free(block), free(large);
}

int main(void) {
    // A large request that fails for want of addresses, and ones that no object is as large as.
    size_t sizes[] = {(size_t)1 << 62, (size_t)1 << 60, (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, (size_t)(int)0x80000000,
                      (size_t)-4097, (size_t)1 << 47};
    for (int round = 0; round < 3; round++)
        for (int n = 0; n < 7; n++) fail(sizes[n]);
    for (int n = 0; n < 64; n++) {
        void *volatile block = malloc(1 << 20);
        CHECK(block);
        free(block);
    }
    puts("ok");
}
