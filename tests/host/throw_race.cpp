// Exceptions, dlopen and dlclose at once with allocations: the unwinder's and the loader's locks.
#include "check.h"
#include <dlfcn.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static volatile bool stop;

__attribute__((noinline)) static int thrower(int depth) {
    std::string text(depth * 3 + 20, 'x');
    if (depth == 0) throw std::runtime_error(text);
    return thrower(depth - 1) + (int)text.size();
}

int main() {
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; t++) {
        threads.emplace_back([] {
            while (!stop) {
                try {
                    thrower(12);
                } catch (const std::exception &error) {
                    CHECK(strlen(error.what()) == 20);
                }
            }
        });
    }
    threads.emplace_back([] {
        while (!stop) churn(100);
    });
    for (int n = 0; n < 150; n++) {
        void *library = dlopen(PLUGIN, RTLD_NOW);
        CHECK(library);
        auto work = (void *(*)(unsigned))dlsym(library, "plugin_work");
        CHECK(work);
        free(work(n));
        CHECK(dlclose(library) == 0);
    }
    stop = true;
    for (auto &thread : threads) thread.join();
    puts("ok");
}
