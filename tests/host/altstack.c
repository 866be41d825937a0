// Handlers on a small alternate stack allocate; the interrupted stack overflowed or was deep.
#include "check.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>

static sigjmp_buf back;
static int handled;

static void handler(int signal) {
    handled++;
    free(malloc(100)), free(malloc(300000));
    if (signal == SIGSEGV) siglongjmp(back, 1);
}
static int overflow(int depth) {
    volatile char frame[4096];
    frame[0] = (char)depth;
    if (depth % 100 == 0) free(malloc(100));
    return overflow(depth + 1) + frame[0];
}

int main(void) {
    size_t size = getauxval(AT_MINSIGSTKSZ) + 6144;
    stack_t stack = {.ss_sp = malloc(size), .ss_size = size};
    CHECK(sigaltstack(&stack, NULL) == 0);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL), sigaction(SIGSEGV, &action, NULL);
    for (int n = 0; n < 100; n++) raise(SIGUSR1);
    for (int n = 0; n < 3; n++) {
        if (sigsetjmp(back, 1) == 0) overflow(1);
        churn(200);
    }
    CHECK(handled == 103);
    puts("ok");
}
