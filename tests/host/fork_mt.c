// fork from one thread while others allocate: the child can allocate, fork and start threads.
#include "check.h"
#include <pthread.h>
#include <sys/wait.h>

static volatile int stop;

static void *worker(void *none) {
    while (!stop) churn(100);
    return none;
}
static void *once(void *none) {
    churn(50);
    return none;
}

int main(void) {
    pthread_t threads[3], extra;
    for (int n = 0; n < 3; n++) pthread_create(&threads[n], NULL, worker, NULL);
    void *inherited = malloc(1000);
    for (int n = 0; n < 60; n++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            free(inherited);
            churn(100);
            pthread_create(&extra, NULL, once, NULL), pthread_join(extra, NULL);
            if (n % 10 == 0) {
                pid_t grandchild = fork();
                if (grandchild == 0) churn(20), exit(0);
                int status;
                CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0);
            }
            n % 2 ? exit(0) : _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    stop = 1;
    for (int n = 0; n < 3; n++) pthread_join(threads[n], NULL);
    free(inherited);
    puts("ok");
}
