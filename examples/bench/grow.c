/* One block that grows from 64 to 1,087 bytes: grow COUNT */
#include "bench.h"

int main(int argc, char **argv) {
    long count = argument(argc, argv, 1, 1000000);
    char *volatile block = malloc(64);
    for (long i = 0; i < count; i++) {
        block = realloc(block, 64 + (size_t)(i % 1024));
        block[i % 64] = 1;
    }
    free(block);
    return 0;
}
