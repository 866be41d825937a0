// Handlers that allocate interrupt malloc; some jump out of it and never come back. As in glibc's own tests, what
// was interrupted is then not touched again: jumps leave only loops that do not allocate.
#include "check.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

static sigjmp_buf back;
static volatile int may_jump;
static volatile sig_atomic_t count;

static void handler(int signal) {
    count++;
    if (may_jump) siglongjmp(back, 1);
}

int main(void) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &timer, NULL);
    for (int n = 0; n < 300; n++) {
        may_jump = 0;
        churn(50);
        if (sigsetjmp(back, 1) == 0) {
            may_jump = 1;
            for (;;) continue;
        }
    }
    may_jump = 0;
    memset(&timer, 0, sizeof timer);
    setitimer(ITIMER_REAL, &timer, NULL);
    CHECK(count >= 300);
    churn(1000);
    puts("ok");
}
