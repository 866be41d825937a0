// A thread's number stands in memory that the thread itself gives back: `pthread_create` has written it by then, and
// nobody may look there afterwards.
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

enum { THREADS = 4000 };

static void *work(void *place) {
    CHECK(munmap(place, sizeof(pthread_t)) == 0);
    return NULL;
}

int main(void) {
    // The maker goes on when the thread is over.
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    churn(100);
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (int n = 0; n < THREADS; n++) {
        pthread_t *place = mmap(NULL, sizeof *place, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(place != MAP_FAILED);
        void *volatile argument = place;
        int failed = pthread_create(place, &detached, work, argument);
        CHECK(failed == 0 || failed == EAGAIN);
        if (failed) munmap(place, sizeof *place);
    }
    puts("ok");
}
