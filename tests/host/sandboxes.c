// Sandboxes that kill. Their lists of what is allowed were made with strace: what the vDSO answers is not on them, and
// what nobody but the tap would call is not either. In each the program goes on with its memory.
#include "check.h"
#include "seccomp.h"
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { MOST = 128 };
static struct sock_filter code[MOST];
static unsigned short length;

static void add(struct sock_filter one) {
    CHECK(length < MOST);
    code[length++] = one;
}

// One call, and what it meets.
static void list(long number, unsigned action) {
    add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1));
    add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

static void begin(void) {
    length = 0;
    add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
}

// What is not on the list meets `rest`.
static void enter(unsigned rest) {
    add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, rest));
    struct sock_fprog program = {length, code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

// What glibc's malloc needs, and the end.
static void memory_only(void) {
    static const long calls[] = {
        SYS_mmap,    SYS_munmap, SYS_mremap,         SYS_mprotect,     SYS_madvise, SYS_brk,  SYS_futex,
        SYS_gettid,  SYS_getpid, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_prctl,   SYS_exit, SYS_exit_group,
        SYS_write,
    };
    begin();
    for (unsigned n = 0; n < sizeof calls / sizeof *calls; n++) list(calls[n], SECCOMP_RET_ALLOW);
}

// The clock is asked through the vDSO.
static void without_clocks(void) {
    churn(2000);
    memory_only();
    enter(SECCOMP_RET_KILL_PROCESS);
    churn(60000);
}

// The first that the process allocates.
static void from_the_start(void) {
    memory_only();
    enter(SECCOMP_RET_KILL_PROCESS);
    churn(3000);
}

static void forks(void) {
    churn(2000);
    memory_only();
    list(SYS_clone, SECCOMP_RET_ALLOW);
    list(SYS_clone3, SECCOMP_RET_ALLOW);
    list(SYS_wait4, SECCOMP_RET_ALLOW);
    list(SYS_set_robust_list, SECCOMP_RET_ALLOW);
    list(SYS_rseq, SECCOMP_RET_ALLOW);
    enter(SECCOMP_RET_KILL_PROCESS);
    pid_t child = fork();
    CHECK(child >= 0);
    churn(2000);
    int status;
    CHECK(child == 0 || (waitpid(child, &status, 0) == child && status == 0));
}

static void is_refused_memory(void) {
    churn(2000);
    memory_only();
    enter(SECCOMP_RET_KILL_PROCESS);
    volatile size_t much = (size_t)1 << 46;
    for (int n = 0; n < 20; n++) {
        CHECK(malloc(much) == NULL && errno == ENOMEM);
        CHECK(mmap(NULL, (size_t)1 << 50, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    }
    churn(2000);
}

// A line could be written to stderr, but not asked whether there is room for it.
static void may_write(void) {
    churn(2000);
    memory_only();
    list(SYS_fstat, SECCOMP_RET_ALLOW);
    list(SYS_newfstatat, SECCOMP_RET_ALLOW);
    list(SYS_rt_sigpending, SECCOMP_RET_ALLOW);
    list(SYS_rt_sigtimedwait, SECCOMP_RET_ALLOW);
    enter(SECCOMP_RET_KILL_PROCESS);
    churn(2000);
}

// All is allowed but new threads and processes.
static void without_threads(void) {
    begin();
    list(SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
    list(SYS_clone, SECCOMP_RET_KILL_PROCESS);
    enter(SECCOMP_RET_ALLOW);
    churn(20000);
}

// All is allowed but to ask what a descriptor is.
static void without_terminals(void) {
    begin();
    list(SYS_ioctl, SECCOMP_RET_KILL_PROCESS);
    list(SYS_getppid, SECCOMP_RET_KILL_PROCESS);
    list(SYS_faccessat, SECCOMP_RET_KILL_PROCESS);
    enter(SECCOMP_RET_ALLOW);
    churn(20000);
    usleep(1100 * 1000);
    churn(2000);
}

int main(void) {
    static const struct {
        const char *name;
        void (*enter)(void);
    } sandboxes[] = {
        {"without clocks", without_clocks},   {"from the start", from_the_start},
        {"forks", forks},                     {"is refused memory", is_refused_memory},
        {"may write", may_write},             {"without threads", without_threads},
        {"without terminals", without_terminals},
    };
    // glibc opens a file before it gives memory back.
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    free(malloc(10));
    int killed = 0;
    for (unsigned n = 0; n < sizeof sandboxes / sizeof *sandboxes; n++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            sandboxes[n].enter();
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        if (status != 0) dprintf(1, "%s: status %x\n", sandboxes[n].name, status), killed++;
    }
    churn(100);
    if (killed == 0) write(1, "ok\n", 3);
    return killed;
}
