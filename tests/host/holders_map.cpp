// What a C++ map holds, and what a moved-from vector no longer does. Says "ready" and waits for the end of its input.
#include "check.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace shop {
std::map<int, std::unique_ptr<std::string>> orders;
}

__attribute__((noinline)) static void fill() {
    for (int i = 0; i < 200; i++) shop::orders[i] = std::make_unique<std::string>(3000, 'x');
}

__attribute__((noinline)) static void forget() {
    static char *volatile last;
    for (int i = 0; i < 40; i++) last = new char[3000];
    last = nullptr;
}

int main() {
    fill();
    forget();
    sleep(3);
    CHECK(write(1, "ready\n", 6) == 6);
    char byte;
    while (read(0, &byte, 1) > 0) {}
}
