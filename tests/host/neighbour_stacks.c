// Coroutines and signal handlers on stacks of the program's own, right below the stack of a thread that the program
// gave it, with nothing between them; then a neighbour goes. What was readable once up to the thread's end is not for
// ever, and a frame whose table does not know that the stack was changed leads there.
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

enum { STACK = 256 << 10, TIMES = 50 };
static char *block;
static void *volatile keep;

__attribute__((noinline)) static void work(void) {
    for (int n = 0; n < TIMES; n++) {
        keep = malloc(3000 + n);
        free(keep);
    }
}

// Runs a function on another stack, which the table of this function does not say.
__attribute__((noinline, optimize("omit-frame-pointer"))) static void on_stack(char *top, void (*function)(void)) {
#if defined(__x86_64__)
    asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; call *%1; mov %%rbx, %%rsp" ::"r"(top), "r"(function)
                 : "rbx", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
#else
    function();
#endif
}

static void handler(int signal) { work(); }

static void on_signal_stack(char *stack, size_t size) {
    stack_t signals = {.ss_sp = stack, .ss_size = size}, off = {.ss_flags = SS_DISABLE};
    CHECK(sigaltstack(&signals, NULL) == 0);
    raise(SIGUSR1);
    CHECK(sigaltstack(&off, NULL) == 0);
}

static void *thread(void *none) {
    work();
    on_stack(block + STACK, work);
    on_stack(block + 2 * STACK, work);
    on_signal_stack(block + 2 * STACK, STACK);
    // The second coroutine and the signal stack are done with.
    CHECK(munmap(block + STACK, 2 * STACK) == 0);
    on_stack(block + STACK, work);
    on_signal_stack(block, STACK);
    work();
    return none;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int of_its_own = 0; of_its_own < 2; of_its_own++) {
        block = mmap(NULL, 4 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(block != MAP_FAILED);
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        if (of_its_own == 0) CHECK(pthread_attr_setstack(&attributes, block + 3 * STACK, STACK) == 0);
        pthread_t made;
        CHECK(pthread_create(&made, &attributes, thread, NULL) == 0);
        pthread_join(made, NULL);
    }
    // The first thread, whose control block may well lie above the next mapping.
    block = mmap(NULL, 4 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(block != MAP_FAILED);
    thread(NULL);
    puts("ok");
}
