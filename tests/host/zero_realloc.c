// What realloc(p, 0) gives, for blocks of several sizes.
#include "check.h"
#include <malloc.h>

int main(void) {
    volatile size_t zero = 0;
    for (size_t size = 10; size < 3000000; size *= 17) {
        void *block = malloc(size);
        memset(block, 1, size);
        block = realloc(block, zero);
        printf("%s\n", block ? "a block" : "null");
        fflush(stdout);
        if (block) CHECK(malloc_usable_size(block) >= 1);
        free(block);
    }
}
