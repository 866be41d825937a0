// Coroutines on stacks of 16 KiB from malloc allocate, switch and free each other's blocks.
#include "check.h"
#include <ucontext.h>

enum { COUNT = 20, STACK = 16384 };
static ucontext_t main_context, contexts[COUNT];
static void *mailbox[COUNT];

static void coroutine(int own) {
    for (int n = 0; n < 100; n++) {
        free(mailbox[(own + 1) % COUNT]);
        mailbox[(own + 1) % COUNT] = malloc(n * 40 + own);
        swapcontext(&contexts[own], &main_context);
    }
}

int main(void) {
    for (int n = 0; n < COUNT; n++) {
        getcontext(&contexts[n]);
        contexts[n].uc_stack.ss_sp = malloc(STACK);
        contexts[n].uc_stack.ss_size = STACK;
        contexts[n].uc_link = &main_context;
        makecontext(&contexts[n], (void (*)(void))coroutine, 1, n);
    }
    for (int round = 0; round <= 100; round++)
        for (int n = 0; n < COUNT; n++) swapcontext(&main_context, &contexts[n]);
    for (int n = 0; n < COUNT; n++) free(mailbox[n]), free(contexts[n].uc_stack.ss_sp);
    puts("ok");
}
