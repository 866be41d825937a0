// The contracts of the whole family: results, alignment, contents, errno, overflow.
#include "check.h"
#include <malloc.h>
#include <stdint.h>

extern void *reallocarray(void *, size_t, size_t);
static volatile size_t huge = (size_t)PTRDIFF_MAX + 1, most = SIZE_MAX;

#define FAILS(call) do { errno = 0; CHECK((call) == NULL); CHECK(errno == ENOMEM); } while (0)

static void impossible_sizes(void) {
    volatile size_t sizes[] = {huge, most, most - 100, most - 4096, huge + 4096};
    for (int n = 0; n < 5; n++) {
        size_t size = sizes[n];
        FAILS(malloc(size));
        FAILS(calloc(1, size));
        FAILS(calloc(size, 2));
        FAILS(realloc(NULL, size));
        FAILS(memalign(64, size));
        FAILS(aligned_alloc(64, size & ~(size_t)63));
        FAILS(valloc(size));
        FAILS(pvalloc(size));
        FAILS(reallocarray(NULL, size, 16));
        void *same = &same;
        CHECK(posix_memalign(&same, 64, size) == ENOMEM && same == &same);
        char *block = malloc(10);
        memcpy(block, "123456789", 10);
        FAILS(realloc(block, size));
        FAILS(reallocarray(block, size, 3));
        CHECK(strcmp(block, "123456789") == 0);
        free(block);
    }
}

static void alignments(void) {
    for (size_t alignment = 8; alignment <= 4 << 20; alignment *= 2) {
        for (size_t size = 1; size < 100000; size = size * 3 + 1) {
            void *blocks[4] = {memalign(alignment, size), aligned_alloc(alignment, size), NULL, NULL};
            CHECK(posix_memalign(&blocks[2], alignment, size) == 0);
            blocks[3] = malloc(size);
            for (int n = 0; n < 3; n++) CHECK(blocks[n] && (uintptr_t)blocks[n] % alignment == 0);
            CHECK(size < 16 || (uintptr_t)blocks[3] % 16 == 0);
            for (int n = 0; n < 4; n++) {
                CHECK(malloc_usable_size(blocks[n]) >= size);
                memset(blocks[n], 1, malloc_usable_size(blocks[n]));
            }
            for (int n = 0; n < 4; n++) free(blocks[n]);
        }
    }
    size_t page = sysconf(_SC_PAGESIZE);
    for (size_t size = 0; size < 3 * page; size += 1000) {
        void *one = valloc(size), *two = pvalloc(size);
        CHECK(one && (uintptr_t)one % page == 0 && two && (uintptr_t)two % page == 0);
        CHECK(size == 0 || malloc_usable_size(two) >= (size + page - 1) / page * page);
        free(one), free(two);
    }
    void *same = &same;
    volatile size_t wrong[] = {0, 1, 2, 4, 3, 24, 100};
    for (int n = 0; n < 7; n++) {
        if (wrong[n] == 8) continue;
        CHECK(posix_memalign(&same, wrong[n], 10) == EINVAL && same == &same);
    }
}

static void contents(void) {
    CHECK(malloc_usable_size(NULL) == 0);
    free(NULL);
    void *zero = malloc(0), *other = malloc(0), *third = calloc(0, 5), *fourth = calloc(5, 0);
    CHECK(zero && other && zero != other && third && fourth);
    free(zero), free(other), free(third), free(fourth);
    for (size_t size = 1; size < 3 << 20; size = size * 2 + 1) {
        unsigned char *block = malloc(size);
        memset(block, 0xff, size);
        free(block);
        block = calloc(1, size);
        for (size_t at = 0; at < size; at++) CHECK(block[at] == 0);
        for (size_t at = 0; at < size; at++) block[at] = at * 13;
        block = realloc(block, size * 2 + 7);
        for (size_t at = 0; at < size; at++) CHECK(block[at] == (unsigned char)(at * 13));
        block = realloc(block, size / 2 + 1);
        for (size_t at = 0; at < size / 2; at++) CHECK(block[at] == (unsigned char)(at * 13));
        // In place or not, all that is said to be usable is usable.
        memset(block, 7, malloc_usable_size(block));
        free(block);
    }
    char *grown = NULL;
    for (size_t size = 1; size < 2000; size++) {
        grown = realloc(grown, size);
        grown[size - 1] = (char)size;
        CHECK(size < 3 || grown[size - 3] == (char)(size - 2));
    }
    CHECK((grown = reallocarray(grown, 7, 11)) && grown[5] == 6);
    free(grown);
    void *aligned = memalign(4096, 100);
    memset(aligned, 3, 100);
    char *moved = realloc(aligned, 100000);
    CHECK(moved[0] == 3 && moved[99] == 3);
    CHECK(realloc(moved, 0) == NULL);
}

int main(void) {
    impossible_sizes();
    alignments();
    contents();
    puts("ok");
}
