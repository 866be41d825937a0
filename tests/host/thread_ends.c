// Threads end in every order, the main thread among them: the last one runs exit(0), with the program's descriptors.
// Each way is tried in a child of its own, whose buffered output and exit handler must reach a pipe.
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>

// Enough live memory that a helper thread of a profiler is worth while, and the allocations that start it.
static void *volatile held;
static void become_large(void) {
    held = malloc(100 << 20);
    for (int n = 0; n < 40; n++) {
        void *volatile block = malloc(1 << 20);
        free(block);
    }
}

static pthread_barrier_t together;
static void *ends(void *none) {
    churn(100);
    pthread_barrier_wait(&together);
    return none;
}

static void *ends_later(void *none) {
    usleep(5000);
    churn(500);
    return none;
}

static void *never_allocates(void *none) {
    usleep(20000);
    return none;
}

static void *waits(void *none) {
    churn(100);
    for (;;) pause();
    return none;
}

static void *cancels(void *thread) {
    churn(100);
    usleep(2000);
    pthread_cancel(*(pthread_t *)thread);
    return NULL;
}

static void *is_large_at_its_end(void *none) {
    become_large();
    return none;
}

static void *ends_the_process(void *none) {
    usleep(1000);
    exit(0);
    return none;
}

static int standard(void *none) {
    churn(100);
    thrd_exit(0);
}

static pthread_key_t keys[3];
static void allocates_in_a_destructor(void *rounds) {
    churn(50);
    if ((intptr_t)rounds > 1) pthread_setspecific(keys[1], (void *)((intptr_t)rounds - 1));
}
static void begins_another_thread(void *none) {
    pthread_t thread;
    pthread_create(&thread, NULL, ends_later, NULL);
    pthread_detach(thread);
}
static void *has_destructors(void *none) {
    for (int n = 0; n < 3; n++) pthread_setspecific(keys[n], (void *)3);
    churn(100);
    return none;
}

static void *forks(void *none) {
    pid_t child = fork();
    if (child == 0) {
        become_large();
        pthread_exit(NULL);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    return none;
}

static void start(void *(*function)(void *), void *argument) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    CHECK(pthread_create(&thread, &attributes, function, argument) == 0);
    pthread_attr_destroy(&attributes);
}

// How the threads of a child end. Returns for the ways that leave the rest to the main thread's end.
static void end_in_way(int way) {
    static pthread_t thread;
    if (way != 6) become_large();
    switch (way) {
    case 0: break;
    case 1: start(ends_later, NULL); break;
    case 2:
        pthread_barrier_init(&together, NULL, 5);
        for (int n = 0; n < 4; n++) start(ends, NULL);
        pthread_barrier_wait(&together);
        break;
    case 3:
        pthread_create(&thread, NULL, waits, NULL);
        start(cancels, &thread);
        break;
    case 4: start(never_allocates, NULL); break;
    case 5:
        for (int n = 0; n < 30; n++) start(ends_later, NULL);
        break;
    case 6: start(is_large_at_its_end, NULL); break;
    case 7: start(has_destructors, NULL); break;
    case 8: start(forks, NULL); break;
    case 9:
        start(ends_later, NULL);
        start(ends_the_process, NULL);
        break;
    case 10: {
        thrd_t standard_thread;
        thrd_create(&standard_thread, standard, NULL);
        thrd_detach(standard_thread);
        break;
    }
    case 11:
        start(ends_later, NULL);
        exit(0);
    }
}

// pthread_exit opens libgcc_s the first time; a fork in that instant would leave the child a loader that is torn.
static void *loads_the_unwinder(void *none) {
    pthread_exit(none);
}

static void bye(void) { puts("exit handler"); }

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 3;
    // musl writes its first line at once.
    setvbuf(stdout, NULL, _IOFBF, BUFSIZ);
    pthread_key_create(&keys[0], begins_another_thread);
    pthread_key_create(&keys[1], allocates_in_a_destructor);
    pthread_key_create(&keys[2], begins_another_thread);
    pthread_t first;
    CHECK(pthread_create(&first, NULL, loads_the_unwinder, NULL) == 0 && pthread_join(first, NULL) == 0);
    for (int round = 0; round < 12 * rounds; round++) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        pid_t child = fork();
        if (child == 0) {
            alarm(200);
            dup2(ends[1], 1);
            close(ends[0]), close(ends[1]);
            atexit(bye);
            puts("buffered");
            end_in_way(round % 12);
            pthread_exit(NULL);
        }
        close(ends[1]);
        char text[256] = "";
        size_t length = 0;
        for (ssize_t got; (got = read(ends[0], text + length, sizeof text - 1 - length)) > 0;) length += got;
        close(ends[0]);
        int status = -1;
        CHECK(waitpid(child, &status, 0) == child);
        // A forked child of the eighth way says the same.
        const char *expected = "buffered\nexit handler\n";
        if (round % 12 == 8) expected = "buffered\nexit handler\nbuffered\nexit handler\n";
        if (status != 0 || strcmp(text, expected) != 0)
            printf("way %d: status %x, output \"%s\"\n", round % 12, status, text), fflush(stdout);
    }
    become_large();
    puts("ok");
}
