// System calls with pointers to nothing: the kernel says EFAULT, and so must whoever looks at them before or after it.
// The program goes on, and is profiled as before.
#include "check.h"
#include "seccomp.h"

static void refused(const char *what, long result, int error) {
    CHECK(result == -1 && errno == error);
    puts(what);
}

int main(void) {
    struct sock_filter *nowhere = (void *)16;
    struct sock_fprog wild = {4, nowhere}, none = {0, nowhere}, null = {4, NULL};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    churn(200);
    refused("prctl, no program", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (void *)16), EFAULT);
    refused("prctl, null", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL), EFAULT);
    refused("seccomp, no program", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, (void *)16), EFAULT);
    refused("seccomp, no instructions", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &wild), EFAULT);
    refused("seccomp, null instructions", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &null), EINVAL);
    refused("seccomp, none at all", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &none), EINVAL);
    refused("prctl, a mode that is none", prctl(PR_SET_SECCOMP, 7, (void *)16), EINVAL);
    char *volatile no_path = (char *)16;
    char *no_words[] = {NULL};
    refused("execve, no path", execve(no_path, no_words, no_words), EFAULT);
    refused("execv, no path", execv(no_path, no_words), EFAULT);
    refused("capset, no header", syscall(SYS_capset, (void *)16, (void *)16), EFAULT);
    churn(200);
    puts("ok");
}
