// A filter that would kill for nearly everything, and that the kernel does not take: nothing has changed for anybody.
#include "check.h"
#include "seccomp.h"
#include <pthread.h>

enum { KEPT = 300, SIZE = 4000 };
static void *kept[KEPT];

static void *worker(void *none) {
    churn(500);
    return none;
}

int main(void) {
    // Complete but for its end: a filter must end by a return.
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
                                 BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    struct sock_fprog program = {2, code}, empty = {0, code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    churn(500);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == -1 && errno == EINVAL);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &empty) == -1 && errno == EINVAL);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == -1 && errno == EINVAL);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL) == -1 && errno == EINVAL);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, worker, NULL) == 0);
    pthread_join(thread, NULL);
    // What is held from now on must stand in the last dump: `host.rs` looks for it.
    for (int n = 0; n < KEPT; n++) kept[n] = malloc(SIZE);
    puts("ok");
}
