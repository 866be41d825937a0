// Threads that allocated are cancelled at any instruction of code of their own: nothing of malloc's is interrupted. In
// musl up to 1.2.3 their destructors then run on a stack that may be off by eight bytes.
#include "check.h"
#include <pthread.h>

static volatile int state;

// Its calls move the stack pointer by all there is.
__attribute__((noinline)) static int deep(volatile int levels) {
    return levels ? deep(levels - 1) + 1 : 0;
}

static void *works(void *none) {
    churn(100);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    state = 1;
    for (;;) deep(20);
    return none;
}

int main(void) {
    for (int n = 0; n < 200; n++) {
        pthread_t thread;
        void *result;
        state = 0;
        CHECK(pthread_create(&thread, NULL, works, NULL) == 0);
        while (state == 0) continue;
        usleep(n * 3);
        CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0);
        CHECK(result == PTHREAD_CANCELED);
    }
    puts("ok");
}
