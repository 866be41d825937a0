// A server that acts for its clients becomes them and comes back, again and again, while other threads allocate;
// then it gives its user up for good, with a raw system call on one thread before that.
#include "check.h"
#include <pthread.h>
#include <sys/syscall.h>

static volatile int stop;
static void *worker(void *none) {
    while (!stop) churn(50);
    return none;
}

static void *alone(void *none) {
    CHECK(syscall(SYS_setresuid, -1, 65533, -1) == 0);
    churn(2000);
    CHECK(syscall(SYS_setresuid, -1, 0, -1) == 0);
    return none;
}

int main(void) {
    NEED(getuid() == 0);
    pthread_t threads[2], other;
    for (int n = 0; n < 2; n++) pthread_create(&threads[n], NULL, worker, NULL);
    for (int n = 0; n < 100; n++) {
        CHECK(seteuid(65534) == 0 && geteuid() == 65534);
        churn(5);
        CHECK(seteuid(0) == 0 && geteuid() == 0);
        CHECK(setreuid(-1, 65533) == 0 && setreuid(-1, 0) == 0);
    }
    CHECK(pthread_create(&other, NULL, alone, NULL) == 0 && pthread_join(other, NULL) == 0);
    errno = 0;
    CHECK(setresuid(65534, 65534, 0) == 0);
    churn(500);
    CHECK(setresuid(65534, 65534, 65534) == 0);
    churn(500);
    CHECK(setuid(0) == -1 && errno == EPERM);
    CHECK(setreuid(0, 0) == -1 && errno == EPERM && setresuid(0, 0, 0) == -1 && errno == EPERM);
    CHECK(seteuid(65534) == 0 && setuid(65534) == 0);
    churn(2000);
    stop = 1;
    for (int n = 0; n < 2; n++) pthread_join(threads[n], NULL);
    puts("ok");
}
