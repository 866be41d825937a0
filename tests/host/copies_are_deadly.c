// A filter that kills for one system call only, process_vm_readv: coroutines, libraries that are opened and generated
// code go on allocating, and the program is profiled as far as that goes without.
#include "check.h"
#include "seccomp.h"
#include <dlfcn.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { STACK = 65536 };
static ucontext_t first, second;

static void coroutine(void) { churn(300); }

int main(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    churn(300);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    churn(300);
    getcontext(&second);
    second.uc_stack.ss_sp = malloc(STACK);
    second.uc_stack.ss_size = STACK;
    second.uc_link = &first;
    makecontext(&second, coroutine, 0);
    swapcontext(&first, &second);
    void *library = dlopen(PLUGIN, RTLD_NOW);
    CHECK(library);
    void *(*work)(unsigned) = (void *(*)(unsigned))dlsym(library, "plugin_work");
    for (int n = 0; n < 100; n++) free(work(n));
#if defined(__x86_64__)
    // push rbp; mov rbp, rsp; call rdi; pop rbp; ret
    unsigned char bytes[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(page != MAP_FAILED);
    memcpy(page, bytes, sizeof bytes);
    for (int n = 0; n < 10; n++) ((void (*)(void (*)(void)))page)(coroutine);
#endif
    CHECK(dlclose(library) == 0);
    puts("ok");
}
