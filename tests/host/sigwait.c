// Signals that all threads of the program block are for its sigwait, whatever else runs.
#include "check.h"
#include <pthread.h>
#include <signal.h>

int main(void) {
    churn(2000);
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGUSR1), sigaddset(&set, SIGTERM), sigaddset(&set, SIGPROF);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    for (int n = 0; n < 30; n++) {
        int wanted = n % 3 == 0 ? SIGUSR1 : n % 3 == 1 ? SIGTERM : SIGPROF, signal;
        churn(200);
        CHECK(kill(getpid(), wanted) == 0);
        CHECK(sigwait(&set, &signal) == 0 && signal == wanted);
    }
    puts("ok");
}
