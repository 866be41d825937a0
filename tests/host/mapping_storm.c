// Threads map, unmap in parts, map over parts and move, each page at most its own; several unmap parts of one mapping.
// At the end what each believes to be mapped is what the kernel says. With an argument it tells how many bytes that are
// and waits for the end of its input: what is recorded must be as much.
#include "check.h"
#include <pthread.h>
#include <sys/mman.h>

enum { THREADS = 6, SLOTS = 24, PAGE = 4096, MOST = 256 };

struct slot {
    char *base;
    int pages;
    int whole;             // one mapping, as the kernel made it
    unsigned char is[MOST]; // pages that are mapped
};
static struct slot all[THREADS][SLOTS];
static int rounds = 3000;
static char *shared;
static unsigned char kept[THREADS][MOST];

static unsigned next(unsigned *state) { return *state = *state * 1664525u + 1013904223u, *state >> 8; }
static char *map(void *at, size_t bytes, int flags) {
    char *got = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    CHECK(got != MAP_FAILED);
    return got;
}
static void unmap(struct slot *slot, int from, int count) {
    CHECK(munmap(slot->base + from * PAGE, (size_t)count * PAGE) == 0);
    memset(slot->is + from, 0, count);
    slot->whole = 0;
}

// The longest run of mapped pages from a place on, at most `most`.
static int run(struct slot *slot, int from, int most) {
    int count = 0;
    while (count < most && from + count < slot->pages && slot->is[from + count]) count++;
    return count;
}

static void step(struct slot *slot, unsigned *state) {
    int what = next(state) % 8;
    if (!slot->pages) {
        slot->pages = 16 + next(state) % (MOST / 2 - 16);
        slot->base = map(NULL, (size_t)slot->pages * PAGE, 0);
        slot->base[0] = 7;
        slot->whole = 1;
        memset(slot->is, 1, slot->pages);
        return;
    }
    int from = next(state) % slot->pages, count = run(slot, from, 1 + next(state) % slot->pages);
    if (what == 0) { // all of it, holes and all, where nobody else can have mapped into them
        if (slot->whole) unmap(slot, 0, slot->pages);
        for (int at = 0; at < slot->pages; at++)
            if (slot->is[at]) unmap(slot, at, run(slot, at, MOST));
        slot->pages = 0;
    } else if (what < 4) {
        if (count) unmap(slot, from, count);
    } else if (what < 6) {
        if (count) {
            char *at = slot->base + from * PAGE;
            CHECK(map(at, (size_t)count * PAGE, MAP_FIXED) == at && *at == 0);
            if (what == 5) *at = 1;
            slot->whole = 0;
        }
    } else if (slot->whole) {
        int pages = what == 6 ? 1 + next(state) % slot->pages : slot->pages + next(state) % (MOST - slot->pages + 1);
        char *moved = mremap(slot->base, (size_t)slot->pages * PAGE, (size_t)pages * PAGE, MREMAP_MAYMOVE);
        CHECK(moved != MAP_FAILED && moved[0] == 7);
        slot->base = moved, slot->pages = pages;
        memset(slot->is, 0, MOST), memset(slot->is, 1, pages);
        // In place there may be no room: then nothing has changed.
        if (mremap(moved, (size_t)pages * PAGE, (size_t)MOST * PAGE, 0) != MAP_FAILED) {
            slot->pages = MOST;
            memset(slot->is, 1, MOST);
        } else
            CHECK(errno == ENOMEM);
    }
}

static void *worker(void *number) {
    long own = (long)number;
    unsigned state = 77 * own + 1;
    for (int n = 0; n < rounds; n++) step(&all[own][next(&state) % SLOTS], &state);
    // Pages of one mapping, each of one thread.
    for (int page = own; page < MOST; page += THREADS) {
        kept[own][page] = next(&state) % 3 == 0;
        if (!kept[own][page]) CHECK(munmap(shared + page * PAGE, PAGE) == 0);
    }
    return NULL;
}

static int is_mapped(unsigned long (*lines)[2], int count, unsigned long page) {
    for (int n = 0; n < count; n++)
        if (lines[n][0] <= page && page < lines[n][1]) return 1;
    return 0;
}

int main(int argc, char **argv) {
    (void)argv;
    churn(3000); // there is something to sample, and so a live profile
    shared = map(NULL, MOST * PAGE, 0);
    pthread_t threads[THREADS];
    for (long n = 0; n < THREADS; n++) CHECK(pthread_create(&threads[n], NULL, worker, (void *)n) == 0);
    for (int n = 0; n < THREADS; n++) pthread_join(threads[n], NULL);
    static unsigned long lines[66000][2];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps);
    char line[4096];
    while (count < 66000 && fgets(line, sizeof line, maps))
        count += sscanf(line, "%lx-%lx", &lines[count][0], &lines[count][1]) == 2;
    fclose(maps);
    unsigned long pages = 0;
    for (int thread = 0; thread < THREADS; thread++) {
        for (int n = 0; n < SLOTS; n++)
            for (int page = 0; page < all[thread][n].pages; page++)
                if (all[thread][n].is[page]) {
                    CHECK(is_mapped(lines, count, (unsigned long)all[thread][n].base + page * PAGE));
                    pages++;
                }
        for (int page = 0; page < MOST; page++)
            if (kept[thread][page]) {
                CHECK(is_mapped(lines, count, (unsigned long)shared + page * PAGE));
                pages++;
            }
    }
    if (argc > 1) {
        printf("%lu\n", pages * PAGE);
        fflush(stdout);
        getchar();
        return 0;
    }
    puts("ok");
}
