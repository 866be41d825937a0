// The process ends while threads allocate, fork and end themselves.
#include "check.h"
#include <pthread.h>
#include <sys/wait.h>

static void *worker(void *none) {
    for (;;) churn(50);
    return none;
}
static void *ender(void *none) {
    _exit(0);
    return none;
}
static void last(void) { churn(200); }

int main(void) {
    for (int n = 0; n < 30; n++) {
        pid_t child = fork();
        if (child == 0) {
            atexit(last);
            pthread_t thread;
            for (int t = 0; t < 3; t++) pthread_create(&thread, NULL, worker, NULL);
            usleep(n * 100);
            if (n % 3 == 0) pthread_create(&thread, NULL, ender, NULL);
            n % 2 ? exit(0) : quick_exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    puts("ok");
}
