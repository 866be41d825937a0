// Allocates from stacks that no table describes, or that a table describes wrongly: whoever unwinds there
// must survive it. Prints one line for each kind that is over.
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static void *volatile kept;
static void done(const char *kind) {
    fputs(kind, stdout);
    fputc('\n', stdout);
}

extern "C" void leak() { kept = malloc(100); }

#if defined(__x86_64__)
asm(R"(
.text
// No unwind information, no frame pointer, and a wild one for those who trust it.
.globl no_table
no_table:
    push %rbp
    movabs $0x4141414141414141, %rbp
    call leak
    pop %rbp
    ret
// The same, but the frame pointer points into the stack, at no frame.
.globl near_miss
near_miss:
    push %rbp
    lea 8(%rsp), %rbp
    call leak
    pop %rbp
    ret
// Unwind information that says nonsense: the frame would be at a wild register, far away, or below.
.globl wild_register
wild_register:
    .cfi_startproc
    push %rbp
    movabs $0x4141414141414140, %rbp
    .cfi_def_cfa %rbp, 16
    call leak
    pop %rbp
    ret
    .cfi_endproc
.globl far_frame
far_frame:
    .cfi_startproc
    sub $8, %rsp
    .cfi_def_cfa_offset 100000000
    call leak
    add $8, %rsp
    ret
    .cfi_endproc
.globl downwards
downwards:
    .cfi_startproc
    sub $8, %rsp
    .cfi_def_cfa_offset 0
    call leak
    add $8, %rsp
    ret
    .cfi_endproc
// A frame that is its own caller: the same stack pointer, the same return address, for ever.
.globl circular
circular:
    .cfi_startproc
    push %rbx
    mov %rsp, %rbx
    .cfi_def_cfa %rsp, 8
    .cfi_offset 16, 0
    call leak
    pop %rbx
    ret
    .cfi_endproc
// The frame address is loaded from where nothing may be read.
.globl unreadable
unreadable:
    .cfi_startproc
    push %rbp
    mov $8, %rbp
    .cfi_escape 0x0f, 3, 0x76, 0, 0x06
    call leak
    pop %rbp
    ret
    .cfi_endproc
)");
extern "C" void no_table(), near_miss(), wild_register(), far_frame(), downwards(), circular(), unreadable();

// push rbp; mov rbp, rsp; sub rsp, 48; call rdi; leave; ret
static const unsigned char generated[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x30, 0xff, 0xd7, 0xc9, 0xc3};

static void assembly() {
    no_table(), done("no table");
    near_miss(), done("near miss");
    wild_register(), done("wild register");
    far_frame(), done("far frame");
    downwards(), done("downwards");
    circular(), done("circular");
    unreadable(), done("unreadable");
    void *code = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, generated, sizeof generated);
    ((void (*)(void (*)()))code)(leak), done("generated code");
    // Code that can be executed but not read.
    mprotect(code, 4096, PROT_EXEC);
    ((void (*)(void (*)()))code)(leak), done("unreadable code");
}
#else
static void assembly() {}
#endif

static ucontext_t main_context, coroutine_context;

// A coroutine whose stack ends, a few bytes above its first frame, in front of nothing.
static void small_coroutine() {
    const size_t size = 16384;
    char *memory = (char *)mmap(nullptr, size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(memory + size, 4096);
    getcontext(&coroutine_context);
    coroutine_context.uc_stack.ss_sp = memory;
    coroutine_context.uc_stack.ss_size = size;
    coroutine_context.uc_link = &main_context;
    makecontext(&coroutine_context, leak, 0);
    swapcontext(&main_context, &coroutine_context);
    munmap(memory, size);
}

static void *in_thread(void *) {
    for (int i = 0; i < 100; i++) leak();
    return nullptr;
}

static void smallest_threads() {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, in_thread, nullptr) == 0) pthread_join(thread, nullptr);
    }
}

static void on_small_signal_stack(int) { leak(); }

static void small_signal_stack() {
    const size_t size = 16384;
    char *memory = (char *)mmap(nullptr, size + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory, 4096, PROT_NONE);
    mprotect(memory + 4096 + size, 4096, PROT_NONE);
    stack_t stack = {};
    stack.ss_sp = memory + 4096;
    stack.ss_size = size;
    sigaltstack(&stack, nullptr);
    struct sigaction action = {};
    action.sa_handler = on_small_signal_stack;
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR1, &action, nullptr);
    for (int i = 0; i < 100; i++) raise(SIGUSR1);
}

int main() {
    assembly();
    for (int i = 0; i < 50; i++) small_coroutine();
    done("coroutine");
    smallest_threads(), done("threads");
    small_signal_stack(), done("signal stack");
    return 0;
}
