// For each line on stdin 64 call paths allocate 0.5 MiB each in blocks of 1,200 bytes, which stay; a line that begins
// with f frees what the last one allocated. Answers each line by one on stdout.
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

static void *volatile sink;
static std::vector<void *> last;

template <int N> __attribute__((noinline)) void path() {
    void *block = malloc(1200);
    sink = block;
    asm volatile("" : : "i"(N) : "memory");
    last.push_back(block);
}

template <int... I> std::vector<void (*)()> all(std::integer_sequence<int, I...>) { return {path<I>...}; }

int main() {
    auto paths = all(std::make_integer_sequence<int, 64>());
    last.reserve(64 * 437);
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        if (line[0] == 'f')
            for (void *block : last) free(block);
        last.clear();
        if (line[0] != 'f')
            for (int n = 0; n < 437; n++)
                for (auto allocate : paths) allocate();
        puts("done");
        fflush(stdout);
    }
}
