// mmap, munmap and mremap wherever a program may call them: in signal handlers that interrupt them and the allocator, and
// that jump out; in a child of vfork; in handlers of fork; with arguments that the kernel refuses. Results and errno are
// the kernel's.
#include "check.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { BYTES = 128 << 10 };
static volatile int handled, in_handler_of_fork;
static sigjmp_buf back;
static volatile sig_atomic_t may_jump;

static char *map(void) {
    return mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static void handler(int signal) {
    (void)signal;
    int before = errno;
    char *mapped = map();
    if (mapped == MAP_FAILED) _exit(3);
    mapped[0] = 1;
    char *moved = mremap(mapped, BYTES, 2 * BYTES, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED || moved[0] != 1 || munmap(moved, 2 * BYTES)) _exit(4);
    errno = before;
    if (++handled % 7 == 0 && may_jump) siglongjmp(back, 1);
}
static void at_fork(void) {
    char *mapped = map();
    CHECK(mapped != MAP_FAILED && munmap(mapped, BYTES) == 0);
    in_handler_of_fork++;
}

static void refusals(void) {
    char *mapped = map();
    errno = 0;
    CHECK(munmap(mapped + 1, BYTES) == -1 && errno == EINVAL);
    CHECK(munmap(mapped, 0) == -1 && errno == EINVAL);
    CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, BYTES, PROT_READ, MAP_PRIVATE, 9999, 0) == MAP_FAILED && errno == EBADF);
    CHECK(mmap(mapped + 1, BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED);
    CHECK(errno == EINVAL);
    CHECK(mremap(mapped + 1, BYTES, BYTES, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, 1ul << 60, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
    mapped[0] = 5;
    errno = 77;
    char *other = map();
    CHECK(other != MAP_FAILED && errno == 77 && mapped[0] == 5);
    CHECK(munmap(other, BYTES) == 0 && munmap(mapped, BYTES) == 0 && errno == 77);
}

int main(void) {
    refusals();
    churn(2000);
    refusals();
    CHECK(pthread_atfork(at_fork, at_fork, at_fork) == 0);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NODEFER};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 700}, {0, 700}};
    setitimer(ITIMER_REAL, &often, NULL);
    while (handled < 150) {
        // Out of mmap and munmap themselves, never out of the allocator.
        if (!sigsetjmp(back, 1)) {
            may_jump = 1;
            char *mapped = map();
            if (mapped != MAP_FAILED) munmap(mapped, BYTES);
        }
        may_jump = 0;
        churn(20);
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    for (int n = 0; n < 20; n++) {
        char *volatile seen = NULL;
        pid_t child = vfork();
        if (child == 0) {
            seen = map(); // in the memory that it shares with its parent
            _exit(seen == MAP_FAILED ? 3 : 0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        seen[BYTES - 1] = 1;
        CHECK(munmap(seen, BYTES) == 0);
        child = fork();
        if (child == 0) {
            char *own = map();
            if (own == MAP_FAILED || munmap(own, BYTES)) _exit(5);
            churn(50);
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    CHECK(in_handler_of_fork >= 40);
    puts("ok");
}
