// A profiler in the process walks stacks from SIGPROF, malloc and the tap under it included.
#include "check.h"
#include <execinfo.h>
#include <signal.h>
#include <string>
#include <sys/time.h>
#include <thread>

static volatile sig_atomic_t count, deep;

static void handler(int) {
    int before = errno;
    void *stack[100];
    if (backtrace(stack, 100) > 3) deep++;
    count++;
    errno = before;
}

int main() {
    void *warm[4];
    backtrace(warm, 4);
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigaction(SIGPROF, &action, nullptr);
    struct itimerval timer = {{0, 500}, {0, 500}};
    setitimer(ITIMER_PROF, &timer, nullptr);
    auto work = [] {
        while (count < 300) {
            std::string text;
            for (int n = 0; n < 200; n++) text += std::to_string(n);
            churn(20);
        }
    };
    std::thread other(work);
    work();
    other.join();
    timer = {};
    setitimer(ITIMER_PROF, &timer, nullptr);
    CHECK(deep * 10 >= count * 5);
    puts("ok");
}
