// Generated code whose frame pointer heads a chain that looks like frames: its return addresses lie in a library that
// another thread opens and closes all the time. Whoever takes them for frames reads tables that may be unmapped while
// they are read.
#include "check.h"
#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>

#if defined(__x86_64__)
enum { WORDS = 64, THREADS = 3, ROUNDS = 4000 };
static volatile int stop;
static void *volatile stale;
static void *(*generated)(size_t, void *(*)(size_t), void *);

static void *worker(void *none) {
    void *volatile frame[WORDS];
    while (!stop) {
        for (int at = 0; at < WORDS; at += 2) {
            frame[at] = (void *)(at < WORDS - 4 ? &frame[at + 2] : 0);
            frame[at + 1] = stale;
        }
        free(generated(300, malloc, (void *)frame));
    }
    return none;
}

int main(void) {
    // push rbp; mov rbp, rdx; call rsi; pop rbp; ret
    unsigned char code[] = {0x55, 0x48, 0x89, 0xd5, 0xff, 0xd6, 0x5d, 0xc3};
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(page != MAP_FAILED);
    memcpy(page, code, sizeof code);
    generated = (void *(*)(size_t, void *(*)(size_t), void *))page;
    pthread_t threads[THREADS];
    for (int n = 0; n < THREADS; n++) CHECK(pthread_create(&threads[n], NULL, worker, NULL) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        void *library = dlopen(PLUGIN, RTLD_NOW);
        CHECK(library);
        unsigned char *function = dlsym(library, "plugin_work");
        CHECK(function);
        int at = 0;
        while (at < 200 && function[at] != 0xe8) at++;
        stale = function + at + 5;
        for (volatile int wait = 0; wait < 2000; wait++) {}
        CHECK(dlclose(library) == 0);
    }
    stop = 1;
    for (int n = 0; n < THREADS; n++) pthread_join(threads[n], NULL);
    puts("ok");
}
#else
int main(void) { puts("ok"); }
#endif
