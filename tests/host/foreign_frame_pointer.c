// A function whose unwind rule counts from the frame pointer calls malloc with garbage in it, on a coroutine's stack.
#include "check.h"
#include <ucontext.h>

#if defined(__x86_64__)
__asm__(
    ".text\n.globl framed\n.type framed,@function\nframed:\n.cfi_startproc\n"
    "push %rbp\n.cfi_def_cfa rbp, 16\n.cfi_offset rbp, -16\nmov %rsi, %rbp\ncall malloc\npop %rbp\n"
    ".cfi_def_cfa rsp, 8\nret\n.cfi_endproc\n.size framed,.-framed\n");
void *framed(size_t, uintptr_t);
#else
void *framed(size_t size, uintptr_t rbp) { return malloc(size); }
#endif

static ucontext_t main_context, context;

// Counted up, these wrap round to the first bytes of the address space; counted down again, to its last ones.
static void coroutine(void) {
    for (int n = 0; n < 200; n++)
        for (uintptr_t below = 0; below < 256; below += 8) free(framed(100 + n, 0 - below));
}

int main(void) {
    getcontext(&context);
    context.uc_stack.ss_sp = malloc(1 << 16);
    context.uc_stack.ss_size = 1 << 16;
    context.uc_link = &main_context;
    makecontext(&context, coroutine, 0);
    swapcontext(&main_context, &context);
    coroutine();
    free(context.uc_stack.ss_sp);
    puts("ok");
}
