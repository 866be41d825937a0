// POSIX timers whose expirations run functions in threads (SIGEV_THREAD): the C library's own thread for them, which
// allocates for each function's thread and may start a profiler's, keeps its own signal (32) blocked.
#include "check.h"
#include <signal.h>
#include <time.h>

static _Atomic long runs;
static void expired(union sigval value) {
    runs++;
    struct timespec pause = {0, 300000};
    nanosleep(&pause, NULL);
}

int main(void) {
    void *volatile held = malloc(60 << 20);
    for (int n = 0; n < 40; n++) {
        struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = expired};
        timer_t timer;
        CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
        struct itimerspec times = {{0, 2000000 + n * 1000}, {0, 1000000}};
        CHECK(timer_settime(timer, 0, &times, NULL) == 0);
    }
    // The main thread allocates no more.
    for (int n = 0; n < 40 || (n < 4000 && runs <= 100); n++) usleep(50000);
    CHECK(runs > 100);
    (void)held;
    puts("ok");
}
