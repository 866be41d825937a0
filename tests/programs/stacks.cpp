// Allocates from all kinds of call stacks, and prints what glibc's backtrace() sees of each:
// "<name> <frame> <frame> ...", leaf first. The blocks stay live, so the tap's final dump has the same stacks.
#include <execinfo.h>
#include <pthread.h>
#include <search.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static volatile int zero;
static void *volatile kept;

// Prints through write(2) only: it runs in signal handlers and on stacks of a few pages.
static void print(const char *name, void **frames, int count) {
    static char line[16384];
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> guard(one_at_a_time);
    int length = snprintf(line, sizeof line, "%s", name);
    for (int i = 0; i < count; i++) length += snprintf(line + length, sizeof line - length, " %p", frames[i]);
    line[length++] = '\n';
    if (write(1, line, length) != length) abort();
}

// The frames from here on; the block is leaked from the same function.
__attribute__((noinline)) static void record(const char *name) {
    static void *frames[512];
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> guard(one_at_a_time);
    int count = backtrace(frames, 512);
    kept = malloc(100);
    print(name, frames, count);
}

__attribute__((noinline)) static void deep(int depth) {
    volatile char room[32 + 16 * (depth % 7)];
    room[0] = depth;
    if (depth == 0) record("deep");
    else deep(depth - 1);
    room[1] = room[0];
}

__attribute__((noinline)) static void with_alloca(size_t size) {
    volatile char *room = (volatile char *)__builtin_alloca(size + 100 + zero);
    room[0] = 1;
    record("alloca");
    room[1] = room[0];
}

__attribute__((noinline)) static void realigned(int level) {
    alignas(128) volatile char room[256];
    room[0] = level;
    if (level == 0) record("realigned");
    else realigned(level - 1);
    room[1] = room[0];
}

__attribute__((noinline)) static void large_frame() {
    volatile char room[300000];
    room[0] = 1;
    record("large-frame");
    room[1] = room[0];
}

static int compare(const void *, const void *) {
    record("qsort");
    return 0;
}

static int compare_tree(const void *left, const void *right) {
    if (left != right) record("tsearch");
    return 1;
}

struct Base {
    virtual void act() = 0;
    virtual ~Base() {}
};
struct Derived : Base {
    void act() override {
        std::function<void()> call = [] { record("virtual"); };
        call();
    }
};

struct Recorder {
    const char *name;
    ~Recorder() { record(name); }
};

__attribute__((noinline)) static void throwing(int depth) {
    Recorder recorder{"destructor"};
    if (depth == 0) throw std::runtime_error("expected");
    throwing(depth - 1);
}

static int compare_and_throw(const void *, const void *) { throw 42; }

static void exceptions() {
    try {
        throwing(2);
    } catch (const std::exception &) {
        record("catch");
        try {
            throw;
        } catch (const std::runtime_error &) {
            record("rethrow");
        }
    }
    int numbers[] = {3, 1, 2};
    try {
        qsort(numbers, 3, sizeof *numbers, compare_and_throw);
    } catch (int) {
        record("through-libc");
    }
    record("after-exceptions");
}

static void out_of_memory() {
    std::set_new_handler([] {
        record("new-handler");
        std::set_new_handler(nullptr);
    });
    try {
        kept = operator new((size_t)1 << 62);
    } catch (const std::bad_alloc &) {
        record("bad-alloc");
    }
}

static jmp_buf back;
__attribute__((noinline)) static void jumping() {
    record("before-longjmp");
    longjmp(back, 1);
}

static void on_signal(int) { record("signal"); }
static void on_own_stack(int) { record("signal-stack"); }

static void signals() {
    struct sigaction action = {};
    action.sa_handler = on_signal;
    sigaction(SIGUSR1, &action, nullptr);
    raise(SIGUSR1);
    std::vector<char> memory(65536);
    stack_t stack = {};
    stack.ss_sp = memory.data();
    stack.ss_size = memory.size();
    sigaltstack(&stack, nullptr);
    action.sa_handler = on_own_stack;
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR2, &action, nullptr);
    raise(SIGUSR2);
    // A real fault, at an instruction that is no call.
    static sigjmp_buf after;
    action.sa_handler = [](int) {
        record("fault");
        siglongjmp(after, 1);
    };
    sigaction(SIGSEGV, &action, nullptr);
    if (sigsetjmp(after, 1) == 0) *(volatile char *)(uintptr_t)(8 + zero) = 1;
    signal(SIGSEGV, SIG_DFL);
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, nullptr);
}

static ucontext_t main_context, coroutine_context;
static void coroutine() {
    record("coroutine");
    deep(20);
}

static void coroutines() {
    const size_t size = 1 << 18;
    char *memory = (char *)mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    // A guard in front of it and nothing behind it that may be read.
    mprotect(memory, 4096, PROT_NONE);
    mprotect(memory + size - 4096, 4096, PROT_NONE);
    getcontext(&coroutine_context);
    coroutine_context.uc_stack.ss_sp = memory + 4096;
    coroutine_context.uc_stack.ss_size = size - 8192;
    coroutine_context.uc_link = &main_context;
    makecontext(&coroutine_context, coroutine, 0);
    swapcontext(&main_context, &coroutine_context);
}

static void *small_thread(void *) {
    record("small-thread");
    return nullptr;
}

struct AtThreadExit {
    void touch() {}
    ~AtThreadExit() { record("thread-local"); }
};
static thread_local AtThreadExit at_thread_exit;

static void threads() {
    std::thread([] { record("thread"); }).join();
    std::thread([] { deep(50); }).join();
    std::thread([] { at_thread_exit.touch(); }).join();
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    pthread_t thread;
    pthread_create(&thread, &attributes, small_thread, nullptr);
    pthread_join(thread, nullptr);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, [] { record("once"); });
}

__attribute__((constructor)) static void constructor() {
    void *frames[4];
    // Loads libgcc_s, which allocates: once and for all.
    backtrace(frames, 4);
    record("constructor");
}

int main() {
    record("main");
    deep(100);
    with_alloca(1000);
    realigned(3);
    large_frame();
    int numbers[] = {3, 1, 2};
    qsort(numbers, 3, sizeof *numbers, compare);
    void *root = nullptr;
    tsearch(&numbers[0], &root, compare_tree);
    tsearch(&numbers[1], &root, compare_tree);
    std::sort(numbers, numbers + 3, [](int left, int right) {
        record("std-sort");
        return left < right;
    });
    Derived derived;
    static_cast<Base &>(derived).act();
    exceptions();
    out_of_memory();
    if (setjmp(back) == 0) jumping();
    record("after-longjmp");
    signals();
    coroutines();
    threads();
    atexit([] { record("atexit"); });
    return 0;
}
