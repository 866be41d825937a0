// All that is hard for a profiler, at once and for a time: detached workers, timers that start threads, fork in threads,
// libraries that come and go, coroutines, and blocks that are resized; and a leak of known size.
//
//     mix SECONDS END      END: return (0), exit (3), _exit (4), quick_exit (5): all but the first in mid-flight
//
// Prints "leaked N BYTES FIRST LAST": how many blocks of how many bytes, and between which addresses their caller's code lies.
#include "check.h"
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

enum { LEAKED_BYTES = 40000, MOST_LEAKED = 1 << 20 };

static atomic_int over, workers;
static _Atomic long expirations;

// Small and large ones, none near the leak's.
static size_t any_size(unsigned *state) {
    *state = *state * 1103515245u + 12345u;
    size_t size = *state >> 28 < 14 ? (*state >> 8) % 3000 : (*state >> 8) % 200000;
    return size > 15000 ? size + 150000 : size;
}

static void check(const unsigned char *block, size_t size, unsigned char seed) {
    if (size) CHECK(block[0] == seed && block[size / 2] == seed && block[size - 1] == seed);
}

static void fill(unsigned char *block, size_t size, unsigned char seed) {
    if (size) block[0] = block[size / 2] = block[size - 1] = seed;
}

// Resizes blocks that other threads made.
static struct held {
    pthread_mutex_t lock;
    unsigned char *at;
    size_t size;
    unsigned char seed;
} board[64];

static void *resizing(void *seed) {
    unsigned state = (unsigned)(uintptr_t)seed * 2654435761u + 1;
    while (!over) {
        struct held *held = &board[(state >> 12) % 64];
        pthread_mutex_lock(&held->lock);
        check(held->at, held->size, held->seed);
        size_t size = any_size(&state);
        unsigned char *at = state & 256 ? realloc(held->at, size + 1) : (free(held->at), malloc(size + 1));
        CHECK(at);
        held->at = at, held->size = size + 1, held->seed = (unsigned char)state;
        fill(at, held->size, held->seed);
        pthread_mutex_unlock(&held->lock);
    }
    return NULL;
}

// Ends in the middle of whatever others do.
static void *worker(void *block) {
    free(block);
    unsigned state = (unsigned)(uintptr_t)block;
    for (int n = 0; n < 20; n++) free(malloc(any_size(&state)));
    workers--;
    return NULL;
}

static void *detaching(void *none) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 1 << 16);
    while (!over) {
        pthread_t thread;
        void *block = malloc(777);
        workers++;
        if (workers > 30 || pthread_create(&thread, &attributes, worker, block)) workers--, free(block), usleep(500);
    }
    return none;
}

static void *forking(void *none) {
    unsigned state = 7;
    while (!over) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(60);
            for (int n = 0; n < 50; n++) free(malloc(any_size(&state)));
            pid_t grandchild = state & 4096 ? fork() : -1;
            free(malloc(500));
            if (grandchild > 0) waitpid(grandchild, NULL, 0);
            // Not exit: glibc's lock of exit functions may be held by another thread of the parent, in dlclose.
            _exit(9);
        }
        int status;
        while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);
        any_size(&state);
    }
    return none;
}

static void *loading(void *none) {
    for (int round = 0; !over; round++) {
        void *library = dlopen(PLUGIN, RTLD_NOW);
        CHECK(library);
        void *(*work)(unsigned) = (void *(*)(unsigned))dlsym(library, "plugin_work");
        for (int n = 0; n < 20; n++) free(work((round * 37 + n * 11) % 4000));
        CHECK(dlclose(library) == 0);
    }
    return none;
}

enum { COROUTINES = 16, STACK = 16384 };
static __thread ucontext_t main_context, contexts[COROUTINES];
static __thread void *mailbox[COROUTINES];

static void coroutine(int own) {
    for (unsigned n = 0;; n++) {
        free(mailbox[(own + 1) % COROUTINES]);
        mailbox[(own + 1) % COROUTINES] = malloc(n * 40 % 9000 + own);
        swapcontext(&contexts[own], &main_context);
    }
}

static void *switching(void *none) {
    for (int n = 0; n < COROUTINES; n++) {
        getcontext(&contexts[n]);
        contexts[n].uc_stack.ss_sp = malloc(STACK);
        contexts[n].uc_stack.ss_size = STACK;
        contexts[n].uc_link = &main_context;
        makecontext(&contexts[n], (void (*)(void))coroutine, 1, n);
    }
    while (!over)
        for (int n = 0; n < COROUTINES; n++) swapcontext(&main_context, &contexts[n]);
    for (int n = 0; n < COROUTINES; n++) free(mailbox[n]), free(contexts[n].uc_stack.ss_sp);
    return none;
}

static void expired(union sigval value) {
    unsigned state = (unsigned)(value.sival_int + expirations++);
    free(malloc(any_size(&state)));
}

static void start_timers(void) {
    for (int n = 0; n < 8; n++) {
        struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = expired, .sigev_value.sival_int = n};
        timer_t timer;
        CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
        struct itimerspec times = {{0, 3000000 + n * 100000}, {0, 1000000}};
        CHECK(timer_settime(timer, 0, &times, NULL) == 0);
    }
}

static void *leaked[MOST_LEAKED];
extern char __start_leaking[], __stop_leaking[];

// A section of its own, so that its bounds are known.
__attribute__((noinline, section("leaking"))) static void leak(int n) {
    leaked[n] = malloc(LEAKED_BYTES);
    CHECK(leaked[n]);
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    double seconds = atof(arguments[1]);
    const char *end = arguments[2];
    for (int n = 0; n < 64; n++) pthread_mutex_init(&board[n].lock, NULL);
    void *(*storms[])(void *) = {resizing, resizing, detaching, forking, forking, loading, switching};
    enum { STORMS = sizeof storms / sizeof *storms };
    pthread_t threads[STORMS];
    for (uintptr_t n = 0; n < STORMS; n++) CHECK(pthread_create(&threads[n], NULL, storms[n], (void *)n) == 0);
    start_timers();
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    int number = 0;
    do {
        leak(number++);
        usleep(10000);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (number < MOST_LEAKED && (now.tv_sec - begin.tv_sec) + (now.tv_nsec - begin.tv_nsec) / 1e9 < seconds);
    CHECK(expirations > 0);
    printf("leaked %d %d %p %p\n", number, LEAKED_BYTES, __start_leaking, __stop_leaking);
    fflush(stdout);
    if (!strcmp(end, "exit")) exit(3);
    if (!strcmp(end, "_exit")) _exit(4);
    if (!strcmp(end, "quick_exit")) quick_exit(5);
    over = 1;
    for (int n = 0; n < STORMS; n++) pthread_join(threads[n], NULL);
    while (workers > 0) usleep(100);
}
