// malloc and free are no cancellation points: a cancelled thread runs on until its next real one.
#include "check.h"
#include <pthread.h>

static volatile int cancelled;
static int finished;

static void *worker(void *none) {
    while (!cancelled) continue;
    for (int n = 0; n < 3000; n++) free(realloc(calloc(1, n), n * 2 + 1));
    finished++;
    for (;;) pthread_testcancel();
    return none;
}

int main(void) {
    for (int n = 0; n < 10; n++) {
        cancelled = 0;
        pthread_t thread;
        pthread_create(&thread, NULL, worker, NULL);
        pthread_cancel(thread);
        cancelled = 1;
        void *result;
        pthread_join(thread, &result);
        CHECK(result == PTHREAD_CANCELED);
    }
    CHECK(finished == 10);
    puts("ok");
}
