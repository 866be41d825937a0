// A program that goes through all arenas there are, allocates from each and makes each its own, must not come upon
// those that somebody else has made for a purpose.
#include "check.h"
#include <malloc.h>

extern void *mallocx(size_t, int), *rallocx(void *, size_t, int);
extern void dallocx(void *, int);
extern int mallctl(const char *, void *, size_t *, void *, size_t);
extern int mallctlnametomib(const char *, size_t *, size_t *), mallctlbymib(const size_t *, size_t, void *, size_t *, void *, size_t);
enum { TCACHE_NONE = 0x100 };
#define ARENA(index) (((int)(index) + 1) << 20)

static void use(void *block, size_t size) {
    CHECK(block && malloc_usable_size(block) >= size);
    memset(block, 1, malloc_usable_size(block));
    CHECK((block = realloc(block, size * 2)));
    memset(block, 1, malloc_usable_size(block));
    free(block);
}

int main(void) {
    churn(500);
    unsigned arenas, first, was;
    size_t bytes = sizeof arenas, mib[4], depth = 4;
    CHECK(mallctl("arenas.narenas", &arenas, &bytes, NULL, 0) == 0);
    CHECK(mallctl("thread.arena", &first, &bytes, NULL, 0) == 0 && mallctlnametomib("thread.arena", mib, &depth) == 0);
    for (unsigned arena = 0; arena < arenas; arena++) {
        for (size_t size = 10; size < 200000; size *= 3) {
            use(mallocx(size, ARENA(arena) | TCACHE_NONE), size);
            use(rallocx(malloc(size), size * 4, ARENA(arena)), size);
        }
        bytes = sizeof was;
        // One by name, the next by number.
        CHECK((arena % 2 ? mallctl("thread.arena", &was, &bytes, &arena, sizeof arena)
                         : mallctlbymib(mib, depth, &was, &bytes, &arena, sizeof arena)) == 0);
        for (size_t size = 10; size < 200000; size *= 3) use(malloc(size), size), use(calloc(3, size), size * 3);
        churn(200);
    }
    CHECK(mallctl("thread.arena", NULL, NULL, &first, sizeof first) == 0);
    puts("ok");
}
