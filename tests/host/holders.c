// Blocks with a known end: held by a global, through a chain of structs, by the stack of a thread that waits, by a
// descriptor of epoll; and some whose last pointer is overwritten. Says "ready" and waits for the end of its input.
#include "check.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { COUNT = 40, BYTES = 5000 };

struct node {
    long key;
    struct node *next;
    char *payload;
};

char *kept[COUNT], *inner[COUNT];
static struct node *chained;
static void *volatile hidden[1];
static int queue;

__attribute__((noinline)) static void make_kept(void) {
    for (int i = 0; i < COUNT; i++) kept[i] = malloc(BYTES);
}

__attribute__((noinline)) static void make_chained(void) {
    for (int i = 0; i < 4; i++) {
        struct node *node = malloc(sizeof *node);
        node->next = chained;
        node->payload = malloc(BYTES);
        chained = node;
    }
}

__attribute__((noinline)) static void make_interior(void) {
    for (int i = 0; i < COUNT; i++) inner[i] = (char *)malloc(BYTES) + 1234;
}

__attribute__((noinline)) static void make_lost(void) {
    for (int i = 0; i < COUNT; i++) {
        hidden[0] = malloc(BYTES);
        hidden[0] = NULL;
    }
}

__attribute__((noinline)) static void make_ring(void) {
    for (int i = 0; i < COUNT; i++) {
        void **one = malloc(BYTES), **other = malloc(BYTES);
        *one = other;
        *other = one;
        hidden[0] = one;
        hidden[0] = NULL;
    }
}

__attribute__((noinline)) static void make_polled(void) {
    for (int i = 0; i < 8; i++) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = malloc(BYTES)};
        CHECK(epoll_ctl(queue, EPOLL_CTL_ADD, ends[0], &event) == 0);
    }
}

// What was called before leaves its words below the stack that is in use.
__attribute__((noinline)) static void wipe(void) {
    volatile char room[16384];
    memset((char *)room, 0, sizeof room);
}

__attribute__((noinline)) static void make_on_stack(char *volatile *blocks) {
    for (int i = 0; i < COUNT; i++) blocks[i] = malloc(BYTES);
}

static void *thread(void *end) {
    char *volatile blocks[COUNT];
    make_on_stack(blocks);
    wipe();
    CHECK(write(((int *)end)[1], "x", 1) == 1);
    for (;;) pause();
    return (void *)blocks[0];
}

int main(void) {
    queue = epoll_create1(0);
    make_kept();
    make_chained();
    make_interior();
    make_lost();
    make_ring();
    make_polled();
    static int ends[2];
    CHECK(pipe(ends) == 0);
    pthread_t worker;
    CHECK(pthread_create(&worker, NULL, thread, ends) == 0);
    pthread_setname_np(worker, "keeps-some");
    char byte;
    CHECK(read(ends[0], &byte, 1) == 1);
    wipe();
    sleep(3);
    CHECK(write(1, "ready\n", 6) == 6);
    while (read(0, &byte, 1) > 0) {}
    return 0;
}
