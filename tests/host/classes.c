// Every block has what nallocx says of it, to the byte, and none lies in another or in what an allocator keeps for itself.
#include "check.h"
#include <malloc.h>

__attribute__((weak)) extern size_t nallocx(size_t, int);

int main(void) {
    unsigned char *kept[32] = {0};
    for (unsigned n = 0; n < 6000; n++) {
        size_t size = n < 2000 ? n * 21 + 1 : (n * 2654435761u >> 8) % (n % 100 ? 90000 : 3 << 20) + 1;
        unsigned char **place = &kept[n % 32];
        if (*place) {
            size_t usable = malloc_usable_size(*place), step = usable > 9000 ? 97 : 1;
            for (size_t at = 0; at < usable; at += step) CHECK((*place)[at] == (n - 32) % 251);
            CHECK((*place)[usable - 1] == (n - 32) % 251);
            free(*place);
        }
        unsigned char *block = *place = n % 3 ? calloc(1, size) : malloc(size);
        CHECK(block);
        size_t usable = malloc_usable_size(block);
        CHECK(usable >= size && (!nallocx || usable == nallocx(size, 0)));
        for (size_t at = 0; n % 3 && at < usable; at += usable > 9000 ? 97 : 1) CHECK(block[at] == 0);
        memset(block, n % 251, usable);
        if (n % 5 == 0) {
            *place = realloc(block, usable + 1 + n % 7000);
            CHECK(*place && (*place)[usable - 1] == n % 251);
            memset(*place, n % 251, malloc_usable_size(*place));
        }
    }
    puts("ok");
}
