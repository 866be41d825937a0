// A thread that gives up all system calls but those that memory needs, on pain of death.
#include "check.h"
#include "seccomp.h"
#include <malloc.h>
#include <pthread.h>

static void *worker(void *none) {
    // glibc's malloc needs more calls for a thread's first block.
    free(malloc(10));
    CHECK(install_filter(SECCOMP_RET_KILL_PROCESS, 0) == 0);
    churn(2000);
    return NULL;
}

int main(void) {
    // glibc opens a file before it gives memory back.
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    churn(1000);
    for (int n = 0; n < 4; n++) {
        pthread_t thread;
        pthread_create(&thread, NULL, worker, NULL);
        pthread_join(thread, NULL);
    }
    churn(1000);
    puts("ok");
}
