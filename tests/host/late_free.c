// Threads that never allocate free blocks of others in the last round of their destructors, and their stacks, in which their
// thread-local memory lies, are no memory any more at once: an allocator that has made them a state of their own there follows it into nothing.
#include "check.h"
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>

enum { STACK = 256 << 10, FREED = 40 };
static pthread_key_t key;

struct burden {
    int rounds;
    void *blocks[FREED];
};

static void late(void *value) {
    struct burden *burden = value;
    if (++burden->rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
        pthread_setspecific(key, burden);
        return;
    }
    for (int n = 0; n < FREED; n++) {
        CHECK(burden->blocks[n]);
        errno = EDOM;
        free(burden->blocks[n]);
        CHECK(errno == EDOM);
    }
}

static void *thread(void *burden) {
    pthread_setspecific(key, burden);
    return NULL;
}

int main(void) {
    CHECK(pthread_key_create(&key, late) == 0);
    for (int round = 0; round < 60; round++) {
        struct burden burden = {0};
        for (int n = 0; n < FREED; n++) {
            size_t size = n % 4 ? n * 100 + 1 : n * 3001;
            burden.blocks[n] = n % 3 ? malloc(size) : memalign(64, size);
            memset(burden.blocks[n], 1, size);
        }
        void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(stack != MAP_FAILED);
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        CHECK(pthread_attr_setstack(&attributes, stack, STACK) == 0);
        pthread_t id;
        CHECK(pthread_create(&id, &attributes, thread, &burden) == 0 && pthread_join(id, NULL) == 0);
        CHECK(burden.rounds == PTHREAD_DESTRUCTOR_ITERATIONS && mprotect(stack, STACK, PROT_NONE) == 0);
        churn(200);
    }
    puts("ok");
}
