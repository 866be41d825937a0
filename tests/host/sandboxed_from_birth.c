// Executed under a filter that refuses files, clone, clocks by system call: it starts, works and ends.
#include "check.h"
#include "seccomp.h"
#include <sys/wait.h>

static long refuse(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#define DENY(name) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
        DENY(clone), DENY(clone3), DENY(prctl), DENY(getrlimit), DENY(prlimit64), DENY(process_vm_readv),
        DENY(memfd_create), DENY(socket), DENY(gettid), DENY(fstat), DENY(statfs), DENY(fallocate), DENY(close_range),
        DENY(linkat), DENY(renameat2), DENY(fchmod),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        for (int n = 0; n < 20; n++) churn(200);
        return 0;
    }
    pid_t child = fork();
    if (child == 0) {
        CHECK(refuse() == 0);
        execl("/proc/self/exe", argv[0], "inner", NULL);
        _exit(9);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    puts("ok");
}
