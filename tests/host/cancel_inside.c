// A thread that is cancelled while it allocates, frees or asks for a dump ends neither there nor with anything held:
// its mutex is released, all its calls have returned, the next dump can be written, and the last one is there.
#include "check.h"
#include "jit.h"
#include <dlfcn.h>
#include <pthread.h>

enum { ROUNDS = 40 };

static generated below;
static int (*control)(const char *, void *, size_t *, void *, size_t);
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile int state, finished;

static int dump(void) {
    const char *next = NULL;
    return control ? control("prof.dump", NULL, NULL, &next, sizeof next) : 0;
}

// The cancellation is pending before anything is called.
static void *pending(void *none) {
    pthread_mutex_lock(&mutex);
    state = 1;
    while (state != 2) continue;
    void *block = below ? below(5000, malloc) : malloc(5000);
    block = realloc(block, 9000);
    free(block);
    free(calloc(3, 700));
    dump();
    pthread_mutex_unlock(&mutex);
    finished++;
    for (;;) pthread_testcancel();
    return none;
}

// It comes at any point.
static void *surprised(void *none) {
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push((void (*)(void *))pthread_mutex_unlock, &mutex);
    state = 1;
    for (;;) {
        for (int n = 0; n < 30; n++) free(realloc(malloc(n * 50), n * 90 + 1));
        dump();
        pthread_testcancel();
    }
    pthread_cleanup_pop(1);
    return none;
}

// It may end the thread at any instruction. Of what it calls only dumps can bear that: malloc itself cannot, anywhere.
static void *at_once(void *none) {
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    state = 1;
    for (;;) dump();
    return none;
}

static void cancel_in(void *(*work)(void *), int delay_us) {
    pthread_t thread;
    void *result;
    state = 0;
    CHECK(pthread_create(&thread, NULL, work, NULL) == 0);
    while (state != 1) continue;
    if (delay_us) usleep(delay_us);
    pthread_cancel(thread);
    state = 2;
    pthread_join(thread, &result);
    CHECK(result == PTHREAD_CANCELED);
    CHECK(pthread_mutex_trylock(&mutex) == 0);
    pthread_mutex_unlock(&mutex);
}

int main(void) {
    below = generate();
    control = dlsym(RTLD_DEFAULT, "mallctl");
    churn(200);
    for (int n = 0; n < ROUNDS; n++) {
        cancel_in(pending, 0);
        CHECK(finished == n + 1);
        cancel_in(surprised, n * 37 % 1500 + 1);
        if (control) cancel_in(at_once, n * 53 % 1500 + 1);
    }
    CHECK(dump() == 0);
    puts("ok");
}
