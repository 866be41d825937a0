// Destructors of threads allocate and free, to the last round of them; threads that only free.
#include "check.h"
#include <memory>
#include <pthread.h>
#include <string>
#include <thread>
#include <vector>

struct Last {
    std::vector<std::string> words;
    ~Last() {
        for (int n = 0; n < 50; n++) words.push_back(std::string(n * 20, 'x'));
    }
};
thread_local Last last;
static pthread_key_t key;

static void destructor(void *value) {
    // Comes again until the rounds of POSIX are over.
    free(value);
    pthread_setspecific(key, malloc(1234));
    churn(20);
}

int main() {
    pthread_key_create(&key, destructor);
    for (int n = 0; n < 60; n++) {
        void *block = malloc(n * 100);
        std::thread only_frees([block] { free(block); });
        std::thread busy([] {
            last.words.push_back("one");
            pthread_setspecific(key, malloc(99));
            churn(20);
        });
        only_frees.join(), busy.join();
    }
    puts("ok");
}
