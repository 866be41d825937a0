// Keeps some blocks, and frees many soon: what dumps tell of ages.
#include <stdlib.h>
#include <time.h>

__attribute__((noinline)) static void *keep(void) { return malloc(5000); }

static void churn(void) {
    for (int i = 0; i < 2000; i++) {
        void *block = malloc(5000);
        *(volatile char *)block = 1;
        free(block);
    }
}

int main(void) {
    static void *kept[200];
    for (int i = 0; i < 200; i++) kept[i] = keep();
    churn();
    void *young[100];
    struct timespec pause = {2, 0};
    nanosleep(&pause, NULL);
    // From the same line as the freed ones of the loop above would be another stack; these are only young.
    for (int i = 0; i < 100; i++) young[i] = keep();
    void *last = malloc(6000);
    // One stack with freed and live blocks.
    for (int i = 0; i < 500; i++) {
        void *block = keep();
        if (i % 5) free(block);
    }
    return kept[0] == 0 || young[0] == 0 || last == 0;
}
