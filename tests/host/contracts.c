// What the C library's own tests and those of other allocators hold an allocator to, beyond `api`: errno after
// success, impossible alignments, blocks that threads hand on, exhaustion with threads, all ways at once.
#include "check.h"
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>

extern void *reallocarray(void *, size_t, size_t);
static volatile size_t zero = 0, most = SIZE_MAX;

// A call that succeeds leaves errno as it was.
static void errno_is_left_alone(void) {
    for (size_t size = 1; size < 40 << 20; size = size * 3 + 7) {
        errno = 0;
        char *block = malloc(size);
        block = realloc(block, size / 2 + 1);
        block = realloc(block, size * 2);
        block = reallocarray(block, 3, size);
        void *others[] = {calloc(3, size), memalign(512, size), aligned_alloc(32, (size + 31) & ~31ul), valloc(size), NULL};
        CHECK(posix_memalign(&others[4], 128, size) == 0);
        CHECK(block && errno == 0);
        for (int n = 0; n < 5; n++) {
            CHECK(others[n]);
            errno = EDOM;
            free(others[n]);
            CHECK(errno == EDOM);
        }
        free(block);
    }
}

static void impossible_alignments(void) {
    size_t page = sysconf(_SC_PAGESIZE);
    volatile size_t beyond = (size_t)1 << 63;
    errno = 0;
    CHECK(memalign(most, page) == NULL && errno == EINVAL);
    errno = 0;
    CHECK(memalign(beyond, beyond) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(aligned_alloc(beyond, beyond) == NULL && errno == ENOMEM);
    CHECK(aligned_alloc(16, most - 14) == NULL);
    CHECK(memalign(sizeof(void *), most) == NULL && memalign(sizeof(void *), -page) == NULL);
    errno = 0;
    CHECK(pvalloc(most) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(pvalloc(-page) == NULL && errno == ENOMEM);
    void *same = &same;
    CHECK(posix_memalign(&same, most, page) == EINVAL && same == &same);
    CHECK(posix_memalign(&same, beyond, beyond) == ENOMEM && same == &same);
    CHECK(posix_memalign(&same, 24, 100) == EINVAL && posix_memalign(&same, 8, most) == ENOMEM);
    for (size_t alignment = 8; alignment <= 64 << 20; alignment *= 4) {
        void *blocks[] = {memalign(alignment, zero), memalign(alignment, 1), NULL};
        CHECK(posix_memalign(&blocks[2], alignment, zero) == 0);
        for (int n = 0; n < 3; n++) {
            CHECK(blocks[n] && (uintptr_t)blocks[n] % alignment == 0);
            free(blocks[n]);
        }
    }
    // Glibc rounds up what is no power of two.
    for (size_t alignment = 3; alignment < 3000; alignment = alignment * 2 + 1) {
        char *block = memalign(alignment, 100);
        CHECK(block && (uintptr_t)block % (alignment < 16 ? 8 : alignment + 1) == 0);
        free(block);
    }
}

static void zero_sizes(void) {
    void *blocks[] = {malloc(zero), calloc(zero, 7), realloc(NULL, zero), reallocarray(NULL, zero, 8), valloc(zero),
                      pvalloc(zero)};
    for (int n = 0; n < 6; n++) {
        CHECK(blocks[n]);
        for (int other = 0; other < n; other++) CHECK(blocks[n] != blocks[other]);
    }
    for (int n = 0; n < 6; n++) free(blocks[n]);
    CHECK(realloc(malloc(100), zero) == NULL && realloc(malloc(1 << 20), zero) == NULL);
    CHECK(reallocarray(malloc(100), zero, 5) == NULL);
    free(NULL);
}

// calloc clears what a freed block has left, whichever way it came.
static void cleared(void) {
    for (size_t size = 1; size < 200000; size = size * 2 + 3) {
        for (int round = 0; round < 8; round++) {
            char *dirty = round % 2 ? memalign(256, size) : malloc(size);
            memset(dirty, 0xee, malloc_usable_size(dirty));
            free(dirty);
            char *clean = calloc(size, 1);
            for (size_t at = 0; at < size; at++) CHECK(clean[at] == 0);
            memset(clean, 0xee, malloc_usable_size(clean));
            free(clean);
        }
    }
}

// Threads take blocks from a board and put others there: whoever finds a block checks and frees it.
enum { PLACES = 512 };
static void *_Atomic board[PLACES];

static void *handing_on(void *argument) {
    unsigned state = (unsigned)(uintptr_t)argument * 2654435761u + 1;
    for (int n = 0; n < 20000; n++) {
        state = state * 1103515245u + 12345u;
        size_t size = (state >> 8) % (n % 100 ? 600 : 90000) + 8;
        unsigned char *block = state & 64 ? malloc(size) : state & 128 ? calloc(1, size) : memalign(64, size);
        CHECK(block);
        if (state & 32) CHECK((block = realloc(block, size + size / 2)));
        *(uint32_t *)block = (uint32_t)size, block[size - 1] = (unsigned char)size;
        unsigned char *found = __atomic_exchange_n((void **)&board[(state >> 16) % PLACES], block, __ATOMIC_ACQ_REL);
        if (!found) continue;
        uint32_t was = *(uint32_t *)found;
        CHECK(was >= 8 && was < 91000 && (was < 9 || found[was - 1] == (unsigned char)was));
        CHECK(malloc_usable_size(found) >= was);
        free(found);
    }
    return NULL;
}

int main(void) {
    errno_is_left_alone();
    impossible_alignments();
    zero_sizes();
    cleared();
    pthread_t threads[4];
    for (uintptr_t n = 0; n < 4; n++) CHECK(pthread_create(&threads[n], NULL, handing_on, (void *)n) == 0);
    for (int n = 0; n < 4; n++) pthread_join(threads[n], NULL);
    for (int n = 0; n < PLACES; n++) free(board[n]);
    puts("ok");
}
