// A thread that gives up all system calls but those that memory needs, on pain of death.
#include "check.h"
#include "seccomp.h"
#include <pthread.h>

static void *worker(void *warm) {
    if (warm) churn(100);
    CHECK(install_filter(SECCOMP_RET_KILL_PROCESS, 0) == 0);
    churn(2000);
    return NULL;
}

int main(void) {
    churn(1000);
    for (int n = 0; n < 4; n++) {
        pthread_t thread;
        pthread_create(&thread, NULL, worker, (void *)(uintptr_t)(n % 2));
        pthread_join(thread, NULL);
    }
    churn(1000);
    puts("ok");
}
