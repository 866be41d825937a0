// mlockall without the right to pass over RLIMIT_MEMLOCK: with the limit of Elasticsearch's unit (infinity), with
// those that administrators set, and with one that is just enough for the program itself.
#include "check.h"
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

// An exec gives root all that the bounding set has.
static void give_up_the_right(void) {
    prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2];
    if (syscall(SYS_capget, &header, sets)) return;
    for (int n = 0; n < 2; n++) sets[n].inheritable = 0;
    sets[0].effective &= ~(1u << CAP_IPC_LOCK), sets[0].permitted &= ~(1u << CAP_IPC_LOCK);
    syscall(SYS_capset, &header, sets);
}

static int inner(int flags) {
    churn(500);
    if (mlockall(flags)) return errno == ENOMEM ? 20 : errno == EPERM ? 21 : 22;
    for (int n = 0; n < 5; n++) churn(500);
    static void *blocks[20];
    for (int n = 0; n < 20; n++) {
        if (!(blocks[n] = malloc(200000))) return 23;
        memset(blocks[n], 1, 200000);
    }
    for (int n = 0; n < 20; n++) free(blocks[n]);
    munlockall();
    churn(500);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1) return inner(atoi(argv[1]));
    rlim_t limits[] = {RLIM_INFINITY, 64ul << 30, 2ul << 30, 160ul << 20};
    char *modes[] = {"1", "3"};
    int tried = 0;
    for (int n = 0; n < 8; n++) {
        pid_t child = fork();
        if (child == 0) {
            struct rlimit limit = {limits[n / 2], limits[n / 2]};
            if (setrlimit(RLIMIT_MEMLOCK, &limit)) _exit(77);
            give_up_the_right();
            execl("/proc/self/exe", argv[0], modes[n % 2], NULL);
            _exit(9);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        if (WEXITSTATUS(status) == 77) continue;
        tried++;
        if (status) dprintf(1, "%lu bytes, flags %s: inner ended with %d\n", limits[n / 2], modes[n % 2], status >> 8);
        CHECK(status == 0);
    }
    // Who may not raise limits can try those below the present one only.
    NEED(tried > 0);
    puts("ok");
}
