// Signals at a high rate interrupt threads that allocate; handlers keep errno and do not allocate.
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t count;
static volatile int stop;

static void handler(int signal) {
    int before = errno;
    count++;
    errno = before;
}
static void *worker(void *none) {
    while (!stop) {
        errno = 77;
        churn(50);
        CHECK(errno == 77);
    }
    return none;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL), sigaction(SIGPROF, &action, NULL);
    pthread_t threads[2];
    for (int n = 0; n < 2; n++) pthread_create(&threads[n], NULL, worker, NULL);
    struct itimerval timer = {{0, 300}, {0, 300}};
    setitimer(ITIMER_REAL, &timer, NULL), setitimer(ITIMER_PROF, &timer, NULL);
    while (count < 1000) churn(50);
    memset(&timer, 0, sizeof timer);
    setitimer(ITIMER_REAL, &timer, NULL), setitimer(ITIMER_PROF, &timer, NULL);
    stop = 1;
    for (int n = 0; n < 2; n++) pthread_join(threads[n], NULL);
    puts("ok");
}
