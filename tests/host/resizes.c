// Blocks of all sizes are resized in all ways, by several threads, and hold what they held; a child of fork goes on with its
// parent's. Where there is jemalloc's extended API, usable sizes are what nallocx says.
#include "check.h"
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/wait.h>

__attribute__((weak)) extern void *rallocx(void *, size_t, int);
__attribute__((weak)) extern size_t xallocx(void *, size_t, size_t, int), nallocx(size_t, int);
extern void *reallocarray(void *, size_t, size_t);
enum { BLOCKS = 64, ROUNDS = 1500, ZERO = 0x40, TCACHE_NONE = 0x100 };

struct block {
    unsigned char *at;
    size_t size, alignment;
};

// The pattern of a block: what stands at a place depends on the block and the place.
static unsigned char pattern(unsigned seed, size_t at) { return (unsigned char)(seed * 31 + at * 7 + (at >> 8)); }

// Places that are looked at: all of the first ones, then some.
static size_t next(size_t at) { return at < 4096 ? at + 1 : at / 509 * 509 + 509; }

static void fill(struct block *block, unsigned seed, size_t from) {
    for (size_t at = 0; at < block->size; at = next(at))
        if (at >= from) block->at[at] = pattern(seed, at);
}

static void check(struct block *block, unsigned seed, size_t to) {
    for (size_t at = 0; at < to; at = next(at)) CHECK(block->at[at] == pattern(seed, at));
    CHECK((uintptr_t)block->at % block->alignment == 0 && malloc_usable_size(block->at) >= block->size);
}

static size_t any_size(unsigned *state) {
    *state = *state * 1103515245u + 12345u;
    unsigned kind = *state >> 28, random = *state >> 8 & 0xffff;
    return kind < 9 ? random % 600 + 1 : kind < 12 ? random % 20000 + 1 : kind < 15 ? random * 8 + 1 : random * 60 + 1;
}

static void resize(struct block *block, unsigned seed, unsigned *state) {
    size_t before = block->size, after = any_size(state);
    // Half of the time a little more or less.
    if (*state & 1024) after = before + (*state >> 16) % 64 + 1 - (before > 100 ? 32 : 0);
    size_t kept = before < after ? before : after;
    check(block, seed, before);
    size_t alignment = 1, usable = 0;
    int flags = 0;
    switch (rallocx ? *state >> 4 & 7 : *state >> 4 & 1) {
    case 0: block->at = reallocarray(block->at, 1, after); break;
    case 2:
        if (xallocx) {
            size_t now = xallocx(block->at, after, *state & 2048 ? 10000 : 0, 0);
            CHECK(now == malloc_usable_size(block->at));
            if (now < after) return check(block, seed, before);
            block->size = after;
            check(block, seed, kept);
            return fill(block, seed, kept);
        }
    case 3: flags = ZERO;
    case 4: flags |= TCACHE_NONE;
    case 5:
        if (*state & 64) alignment = (size_t)1 << (*state >> 5) % 13, flags |= __builtin_ctzl(alignment);
        usable = malloc_usable_size(block->at);
        block->at = rallocx(block->at, after, flags);
        CHECK(block->at);
        for (size_t at = usable; flags & ZERO && at < malloc_usable_size(block->at); at++) CHECK(block->at[at] == 0);
        break;
    default: block->at = realloc(block->at, after);
    }
    CHECK(block->at);
    block->size = after, block->alignment = alignment < 8 ? 1 : alignment;
    if (nallocx) CHECK(malloc_usable_size(block->at) == nallocx(after, flags & 63));
    if (flags & ZERO) kept = kept < usable ? kept : usable;
    check(block, seed, kept);
    fill(block, seed, kept);
}

static void run(struct block *blocks, unsigned seed, unsigned rounds) {
    unsigned state = seed * 2654435761u + 1;
    for (unsigned n = 0; n < rounds; n++) {
        struct block *block = &blocks[(state >> 20) % BLOCKS];
        if (!block->at) {
            size_t size = any_size(&state), alignment = state & 512 ? 1 : (size_t)8 << (state >> 10) % 10;
            *block = (struct block){alignment == 1 ? malloc(size) : memalign(alignment, size), size, alignment};
            CHECK(block->at);
            if (nallocx) CHECK(malloc_usable_size(block->at) == nallocx(size, alignment == 1 ? 0 : __builtin_ctzl(alignment)));
            fill(block, seed, 0);
        } else if ((state >> 12) % 16 == 0) {
            check(block, seed, block->size);
            free(block->at);
            *block = (struct block){0};
        } else {
            resize(block, seed, &state);
        }
        state = state * 1103515245u + 12345u;
    }
}

static void *thread(void *seed) {
    struct block blocks[BLOCKS] = {0};
    run(blocks, (unsigned)(uintptr_t)seed, ROUNDS);
    for (int n = 0; n < BLOCKS; n++) free(blocks[n].at);
    return NULL;
}

// Threads resize each other's blocks: one owner at a time.
static void *_Atomic board[16];

static void *handing_on(void *argument) {
    unsigned state = (unsigned)(uintptr_t)argument * 40503u + 7;
    for (int n = 0; n < 8000; n++) {
        state = state * 1103515245u + 12345u;
        size_t *block = __atomic_exchange_n((void **)&board[(state >> 16) % 16], NULL, __ATOMIC_ACQ_REL);
        size_t size = (state >> 8) % (n % 50 ? 700 : 60000) + 16, before = block ? *block : 0;
        CHECK((block = realloc(block, size)) && (!before || *block == before));
        *block = size, ((char *)block)[size - 1] = 1;
        free(__atomic_exchange_n((void **)&board[(state >> 20) % 16], block, __ATOMIC_ACQ_REL));
    }
    return NULL;
}

int main(void) {
    pthread_t threads[6];
    for (uintptr_t n = 0; n < 6; n++) CHECK(pthread_create(&threads[n], NULL, n < 3 ? thread : handing_on, (void *)(n + 1)) == 0);
    struct block blocks[BLOCKS] = {0};
    run(blocks, 99, ROUNDS);
    pid_t child = fork();
    run(blocks, 99, ROUNDS / 4);
    for (int n = 0; n < BLOCKS; n++) free(blocks[n].at);
    if (child == 0) _exit(0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    for (int n = 0; n < 6; n++) CHECK(pthread_join(threads[n], NULL) == 0);
    for (int n = 0; n < 16; n++) free(board[n]);
    puts("ok");
}
