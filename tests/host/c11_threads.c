// Threads of C11, which libc starts without its pthread_create: one of them allocates while the main thread has the
// loader's lock and waits for it.
#include "check.h"
#include <dlfcn.h>
#include <threads.h>

static thrd_t worker;
static volatile int is_inside;

void wait_for_worker(void) {
    is_inside = 1;
    CHECK(thrd_join(worker, NULL) == thrd_success);
}

static int work(void *none) {
    while (!is_inside) usleep(1000);
    churn(20000);
    return 0;
}

int main(void) {
    CHECK(thrd_create(&worker, work, NULL) == thrd_success);
    CHECK(dlopen(PLUGIN ".waits.so", RTLD_NOW));
    puts("ok");
}
