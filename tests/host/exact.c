// Allocates known numbers of blocks of odd prime sizes from known functions, some freed again, and prints what is
// live: "function objects bytes", bytes as malloc_usable_size would say without a profiler in the way.
#include "check.h"
#include <malloc.h>

// The size classes of jemalloc up to 4 KiB and beyond: multiples of 8 (one), 16, then four classes a doubling.
static size_t usable(size_t size) {
    if (size <= 8) return 8;
    if (size <= 128) return (size + 15) / 16 * 16;
    size_t top = (size_t)1 << (63 - __builtin_clzll(size - 1));
    size_t step = top / 4;
    return (size + step - 1) / step * step;
}

#define SITE(name, size, count, freed)                                                       \
    __attribute__((noinline)) static void name(void) {                                       \
        for (int n = 0; n < count; n++) {                                                    \
            char *block = malloc(size);                                                      \
            block[0] = 1;                                                                    \
            if (n < freed) free(block);                                                      \
            __asm__ volatile("" ::"r"(block) : "memory");                                    \
        }                                                                                    \
        printf("%s %d %zu\n", #name, count - freed, (size_t)(count - freed) * usable(size)); \
    }

SITE(site_3, 3, 101, 0)
SITE(site_17, 17, 103, 50)
SITE(site_61, 61, 211, 1)
SITE(site_127, 127, 97, 96)
SITE(site_251, 251, 89, 13)
SITE(site_1021, 1021, 83, 7)
SITE(site_4093, 4093, 79, 0)
SITE(site_16381, 16381, 31, 5)
SITE(site_65521, 65521, 29, 11)
SITE(site_1048573, 1048573, 7, 2)

__attribute__((noinline)) static void by_calloc(void) {
    for (int n = 0; n < 41; n++) CHECK(calloc(7, 13));
    printf("by_calloc 41 %zu\n", 41 * usable(91));
}
__attribute__((noinline)) static void by_realloc(void) {
    for (int n = 0; n < 43; n++) CHECK(realloc(realloc(malloc(11), 499), 2003));
    printf("by_realloc 43 %zu\n", 43 * usable(2003));
}
__attribute__((noinline)) static void by_memalign(void) {
    for (int n = 0; n < 47; n++) CHECK(memalign(64, 509));
    printf("by_memalign 47 %zu\n", 47 * usable(512));
}
__attribute__((noinline)) static void by_strdup(void) {
    for (int n = 0; n < 53; n++) CHECK(strdup("a string of thirty-one letters."));
    printf("by_strdup 53 %zu\n", 53 * usable(32));
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    site_3(), site_17(), site_61(), site_127(), site_251(), site_1021(), site_4093(), site_16381(), site_65521();
    site_1048573(), by_calloc(), by_realloc(), by_memalign(), by_strdup();
}
