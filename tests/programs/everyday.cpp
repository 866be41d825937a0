// Everyday C++: memory before main, containers, exceptions, threads, aligned new, fork.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <malloc.h>
#include <map>
#include <memory>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

static const std::map<int, std::string> before_main = {{1, std::string(300, 'a')}, {2, std::string(5000, 'b')}};

struct alignas(256) Aligned {
    char bytes[256];
};

static std::size_t churn(unsigned seed)
{
    std::vector<std::string> live;
    std::size_t sum = 0;
    for (unsigned i = 0; i < 20'000; i++) {
        seed = seed * 1664525u + 1013904223u;
        live.emplace_back(seed >> 20, static_cast<char>('a' + seed % 26));
        if (live.size() > 200)
            live.erase(live.begin());
        sum += live.back().size();
    }
    return sum;
}

static bool throws(int depth)
{
    auto held = std::make_unique<std::vector<int>>(depth + 1);
    if (depth == 0)
        throw std::runtime_error(std::string(100, 'x'));
    return throws(depth - 1) && held->empty();
}

int main()
{
    std::printf("%zu %zu\n", before_main.at(1).size(), before_main.at(2).size());

    std::vector<std::size_t> sums(4);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < sums.size(); i++)
        threads.emplace_back([&sums, i] { sums[i] = churn(i + 1); });
    for (auto &thread : threads)
        thread.join();
    std::printf("%zu\n", std::accumulate(sums.begin(), sums.end(), std::size_t{0}));

    int caught = 0;
    for (int i = 0; i < 500; i++) {
        try {
            throws(i % 20);
        } catch (const std::runtime_error &error) {
            caught += error.what()[0] == 'x';
        }
    }
    std::printf("caught %d\n", caught);

    auto aligned = std::make_unique<Aligned[]>(10);
    void *page = nullptr;
    int failed = posix_memalign(&page, 4096, 10'000);
    std::printf("%d %d %d\n", static_cast<int>(reinterpret_cast<std::size_t>(aligned.get()) % 256), failed,
                static_cast<int>(reinterpret_cast<std::size_t>(page) % 4096));
    std::printf("%d\n", malloc_usable_size(page) >= 10'000);
    std::free(page);

    volatile std::size_t too_much = static_cast<std::size_t>(-1) / 2;
    std::printf("%d\n", new (std::nothrow) char[too_much] == nullptr);

    std::fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        std::size_t sum = churn(9);
        std::printf("child %zu\n", sum);
        std::fflush(stdout);
        _exit(11);
    }
    int status = 0;
    waitpid(child, &status, 0);
    std::printf("ended with %d\n", WEXITSTATUS(status));
    return 0;
}
