// Detached threads of the default stack size that never allocate. In its last moments each frees what glibc keeps for others'
// stacks (their vectors of TLS blocks), after its destructors have run: what an allocator then makes for it stays for ever.
#include "check.h"
#include <pthread.h>

static _Atomic int live;
static volatile long sum;

static void *work(void *none) {
    long own = 0;
    for (int n = 0; n < 20000; n++) own += n;
    sum += own;
    live--;
    return none;
}

int main(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (int n = 0; n < 60000; n++) {
        pthread_t thread;
        while (live > 40) usleep(50);
        live++;
        while (pthread_create(&thread, &attributes, work, NULL)) usleep(100);
    }
    while (live > 0) usleep(100);
    puts("ok");
}
