// Two thousand short threads, each handing a block to the next.
#include "check.h"
#include <pthread.h>

static void *worker(void *block) {
    free(block);
    return malloc(777);
}

int main(void) {
    void *block = NULL;
    for (int n = 0; n < 1000; n++) {
        pthread_t pair[2];
        void *other = malloc(50);
        pthread_create(&pair[0], NULL, worker, block), pthread_create(&pair[1], NULL, worker, other);
        pthread_join(pair[0], &block), pthread_join(pair[1], &other);
        free(other);
    }
    free(block);
    puts("ok");
}
