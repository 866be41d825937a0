// Threads with the smallest stack that there is, filled as far as plain malloc leaves room.
#include "check.h"
#include <limits.h>
#include <pthread.h>

static void *worker(void *none) {
    volatile char used[4096];
    memset((void *)used, 1, sizeof used);
    churn(200);
    free(strdup("text"));
    void *big = malloc(1 << 20);
    free(big);
    return none;
}

int main(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN) == 0);
    for (int n = 0; n < 100; n++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, &attributes, worker, NULL) == 0);
        pthread_join(thread, NULL);
    }
    puts("ok");
}
