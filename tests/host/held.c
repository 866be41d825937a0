// A random program with a known end for each of its blocks, made of the seed that it is given. Eight functions allocate;
// the seed says how many blocks of which size each of them makes, and who holds them. Says for each `SITE FATE`, then
// "ready", and waits for the end of its input.
#include "check.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SITES = 8, MOST = 64 };

static unsigned long long state;

static unsigned random_below(unsigned below) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33) % below;
}

struct site {
    int fate, count, depth, offset;
    size_t bytes;
};

static struct site sites[SITES];
typedef void *maker(size_t);
#define SITE(n) __attribute__((noinline)) void *site##n(size_t bytes) { void *volatile made = malloc(bytes); return made; }
SITE(0) SITE(1) SITE(2) SITE(3) SITE(4) SITE(5) SITE(6) SITE(7)
static maker *const makers[SITES] = {site0, site1, site2, site3, site4, site5, site6, site7};

// Where what is held hangs: a variable for each site, so that the right one must be named.
void *held0[MOST], *held1[MOST], *held2[MOST], *held3[MOST], *held4[MOST], *held5[MOST], *held6[MOST], *held7[MOST];
static void **const held[SITES] = {held0, held1, held2, held3, held4, held5, held6, held7};
static void *volatile hidden;

struct link {
    struct link *volatile next;
    char filler[];
};

struct packed {
    char one;
    void *pointer;
} __attribute__((packed));

// Some memory of the program's own allocator between a holder and what it holds.
__attribute__((noinline)) static void *holder(size_t least) { return calloc(1, least + random_below(400)); }

__attribute__((noinline)) static void *chain(void *end, int depth) {
    void *top = end;
    for (int i = 0; i < depth; i++) {
        size_t at = random_below(8) * sizeof(void *);
        char *block = holder(at + sizeof(void *));
        memcpy(block + at, &top, sizeof top);
        top = block;
    }
    return top;
}

__attribute__((noinline)) static void wipe(void) {
    volatile char room[32768];
    memset((char *)room, 0, sizeof room);
}

enum { GLOBAL, INTERIOR, CHAIN, VECTOR, LIST, PACKED, STACK, LOCAL, LOST, RING, LOST_CHAIN, SHARED, FATES };
static const char *const words[FATES] = {"global", "global", "global", "global", "global", "global",
                                         "thread", "thread", "lost",   "lost",   "lost",   "global"};

__attribute__((noinline)) static void make(int number) {
    struct site *site = &sites[number];
    void **place = held[number];
    void **vector = NULL;
    struct link *list = NULL;
    if (site->fate == VECTOR) vector = place[0] = calloc(MOST, sizeof *vector);
    for (int i = 0; i < site->count; i++) {
        char *block = makers[number](site->bytes);
        memset(block, 0, site->bytes);
        switch (site->fate) {
        case GLOBAL: place[i] = block; break;
        case INTERIOR: place[i] = block + random_below((unsigned)site->bytes + 1); break;
        case CHAIN: place[i] = chain(block, site->depth); break;
        case VECTOR: vector[i] = block; break;
        case LIST:
            ((struct link *)block)->next = list;
            list = (struct link *)block;
            if (i % 8 == 7 || i == site->count - 1) {
                place[i / 8] = list;
                list = NULL;
            }
            break;
        case PACKED: {
            struct packed *packed = place[i] = calloc(1, sizeof *packed);
            packed->pointer = block;
            break;
        }
        case SHARED:
            place[i] = chain(block, site->depth);
            if (i > 0) memcpy(block, &place[i - 1], sizeof(void *));
            break;
        case LOST: hidden = block; break;
        case RING: {
            char *other = makers[number](site->bytes);
            memcpy(block, &other, sizeof other);
            memcpy(other, &block, sizeof block);
            break;
        }
        case LOST_CHAIN: hidden = chain(block, site->depth); break;
        }
        hidden = NULL;
    }
}

// What a thread has: on its stack, or in variables of its own.
static __thread void *own[MOST];
struct work {
    int site, ends[2];
};

__attribute__((noinline)) static void make_into(int number, void *volatile *blocks) {
    for (int i = 0; i < sites[number].count; i++) blocks[i] = makers[number](sites[number].bytes);
}

static void *thread(void *argument) {
    struct work work = *(struct work *)argument;
    void *volatile blocks[MOST] = {NULL};
    make_into(work.site, sites[work.site].fate == LOCAL ? (void *volatile *)own : blocks);
    wipe();
    CHECK(write(work.ends[1], "x", 1) == 1);
    for (;;) pause();
    return (void *)blocks[0];
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    state = strtoull(arguments[1], NULL, 10) * 0x9e3779b97f4a7c15ull + 1;
    for (int i = 0; i < 8; i++) random_below(2);
    // Some traffic, so that heaps have holes with old words in them.
    static void *old[2000];
    for (int i = 0; i < 2000; i++) old[i] = malloc(16 + random_below(3000));
    for (int i = 0; i < 2000; i += 1 + (int)random_below(3)) {
        free(old[i]);
        old[i] = NULL;
    }
    static struct work work[SITES];
    for (int i = 0; i < SITES; i++) {
        sites[i].fate = (int)random_below(FATES);
        sites[i].count = 8 + (int)random_below(MOST - 8);
        sites[i].depth = 1 + (int)random_below(6);
        sites[i].bytes = 16u << random_below(11);
        sites[i].bytes += random_below((unsigned)sites[i].bytes);
        dprintf(1, "site%d %s %d\n", i, words[sites[i].fate], sites[i].fate);
        if (sites[i].fate == STACK || sites[i].fate == LOCAL) {
            work[i].site = i;
            CHECK(pipe(work[i].ends) == 0);
            pthread_t worker;
            CHECK(pthread_create(&worker, NULL, thread, &work[i]) == 0);
            char name[16];
            snprintf(name, sizeof name, "keeps%d", i);
            pthread_setname_np(worker, name);
            char byte;
            CHECK(read(work[i].ends[0], &byte, 1) == 1);
        } else {
            make(i);
        }
    }
    wipe();
    // What was just made might be on its way.
    sleep(3);
    CHECK(write(1, "ready\n", 6) == 6);
    char byte;
    while (read(0, &byte, 1) > 0) {}
    return 0;
}
