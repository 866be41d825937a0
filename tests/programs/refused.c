/* Asks for memory that cannot be had, and for sizes that are none, in all ways of asking; each way in a function of its
   own. The word says how often `malloc` is asked, which the fast path may answer the first time.

   First sizes that overflow: a bug of the program, and no want of memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

extern void *reallocarray(void *, size_t, size_t);

static volatile size_t much = (size_t)4 << 30, most = SIZE_MAX / 2;
static void *volatile got;

#define ASKS(name, call)                              \
    __attribute__((noinline)) void name(int times) {  \
        for (int n = 0; n < times; n++) {             \
            errno = 0;                                \
            if ((got = (call)) || errno != ENOMEM) abort(); \
        }                                             \
    }

static void *small;
static void *by_posix(void) {
    void *block = NULL;
    if (posix_memalign(&block, 4096, much) != ENOMEM) abort();
    errno = ENOMEM;
    return block;
}

ASKS(overflow_product, calloc(most, 4))
ASKS(overflow_array, reallocarray(small, most, 4))
ASKS(overflow_pages, pvalloc(SIZE_MAX - 100))
ASKS(overflow_size, malloc(most + 2))
ASKS(ask_malloc, malloc(much))
ASKS(ask_calloc, calloc(much / 8, 8))
ASKS(ask_realloc, realloc(small, much))
ASKS(ask_reallocarray, reallocarray(small, much / 8, 8))
ASKS(ask_memalign, memalign(64, much))
ASKS(ask_aligned, aligned_alloc(4096, much))
ASKS(ask_posix, by_posix())
ASKS(ask_valloc, valloc(much))

int main(int count, char **words) {
    struct rlimit limit = {(rlim_t)3 << 30, (rlim_t)3 << 30};
    if (count < 2) return 2;
    int times = atoi(words[1]);
    for (int n = 0; n < 4; n++) memset(malloc(1 << 20), 1, 1 << 20);
    small = malloc(1000);
    overflow_product(1), overflow_array(1), overflow_pages(1), overflow_size(1);
    if (setrlimit(RLIMIT_AS, &limit)) abort();
    ask_malloc(times), ask_calloc(1), ask_realloc(1), ask_reallocarray(1);
    ask_memalign(1), ask_aligned(1), ask_posix(1), ask_valloc(1);
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
