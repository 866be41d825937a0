// glibc's questions about the heap are answered, and nothing is printed on stdout.
#include "check.h"
#include <malloc.h>

int main(void) {
    enum { BLOCKS = 300, SIZE = 1 << 20 };
    static void *blocks[BLOCKS];
    struct mallinfo2 before = mallinfo2();
    for (int n = 0; n < BLOCKS; n++) memset(blocks[n] = malloc(SIZE), 1, 100);
    struct mallinfo2 after = mallinfo2();
    size_t grown = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
    // At least what was allocated; sampled blocks are a little longer, and their size classes a quarter at most.
    if (grown < 300u << 20 || grown >= 380u << 20) dprintf(1, "%zu\n", grown);
    CHECK(grown >= 300u << 20 && grown < 380u << 20);
    CHECK(after.arena + after.hblkhd >= after.uordblks + after.hblkhd);
    (void)mallinfo();
    // Small ones are counted, too, and not with the thread's first sample only.
    before = mallinfo2();
    enum { SMALL = 10000, BYTES = 160 };
    static void *small[SMALL];
    for (int n = 0; n < SMALL; n++) small[n] = malloc(BYTES);
    after = mallinfo2();
    CHECK(after.uordblks + (64 << 10) >= before.uordblks + (size_t)SMALL * BYTES);
    for (int n = 0; n < SMALL; n++) free(small[n]);
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
    char *text;
    size_t length;
    FILE *stream = open_memstream(&text, &length);
    CHECK(malloc_info(0, stream) == 0 && fclose(stream) == 0);
    CHECK(strncmp(text, "<malloc version=\"1\">", 20) == 0 && strstr(text, "</malloc>"));
    free(text);
    CHECK(malloc_info(1, stdout) != 0);
    for (int n = 0; n < BLOCKS; n++) free(blocks[n]);
    int trimmed = malloc_trim(0);
    CHECK(trimmed == 0 || trimmed == 1);
    CHECK(freopen("/dev/null", "w", stderr));
    malloc_stats();
    puts("ok");
}
