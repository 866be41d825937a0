// All forms of new and delete; the new handler is honoured; exceptions come through.
#include "check.h"
#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

static int handled;
static void give_up() {
    if (++handled == 3) std::set_new_handler(nullptr);
}
struct alignas(256) Wide { char bytes[300]; };
static volatile size_t huge = PTRDIFF_MAX / 2;

int main() {
    for (int n = 0; n < 200; n++) {
        size_t size = n * 37;
        ::operator delete(::operator new(size));
        ::operator delete(::operator new(size), size);
        ::operator delete[](::operator new[](size));
        ::operator delete[](::operator new[](size), size);
        ::operator delete(::operator new(size, std::nothrow), std::nothrow);
        std::align_val_t alignment{1u << (4 + n % 9)};
        void *block = ::operator new(size, alignment);
        CHECK((uintptr_t)block % (size_t)alignment == 0);
        ::operator delete(block, size, alignment);
        ::operator delete[](::operator new[](size, alignment, std::nothrow), alignment);
        Wide *wide = new Wide[n + 1];
        CHECK((uintptr_t)wide % 256 == 0);
        delete[] wide;
    }
    std::set_new_handler(give_up);
    bool thrown = false;
    try {
        ::operator delete(::operator new(huge));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown && handled == 3);
    CHECK(::operator new(huge, std::nothrow) == nullptr);
    // The aligned, the array and the nothrow forms ask the handler, too.
    for (int form = 0; form < 3; form++) {
        handled = 0;
        std::set_new_handler(give_up);
        thrown = false;
        try {
            if (form == 0) ::operator new(huge, std::align_val_t{64});
            if (form == 1) ::operator new[](huge);
            if (form == 2) CHECK(::operator new(huge, std::align_val_t{128}, std::nothrow) == nullptr);
        } catch (const std::bad_alloc &) {
            thrown = true;
        }
        CHECK(handled == 3 && thrown == (form < 2));
    }
    thrown = false;
    try {
        std::vector<char> much(huge);
    } catch (const std::exception &) {
        thrown = true;
    }
    CHECK(thrown);
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; t++) {
        threads.emplace_back([t] {
            std::map<std::string, std::shared_ptr<std::string>> map;
            for (int n = 0; n < 2000; n++) {
                try {
                    map[std::to_string(n * t % 300)] = std::make_shared<std::string>(n % 90, 'x');
                    if (n % 50 == 0) throw std::to_string(n);
                } catch (const std::string &text) {
                    CHECK(text == std::to_string(n));
                }
            }
        });
    }
    for (auto &thread : threads) thread.join();
    puts("ok");
}
