// free keeps errno (POSIX.1-2024), and so does every successful allocation, sampled or not.
#include "check.h"
#include <malloc.h>

int main(void) {
    for (int n = 1; n < 3000; n++) {
        errno = n;
        void *a = malloc(n), *b = calloc(3, n), *c = realloc(malloc(5), n), *d = memalign(256, n), *e;
        CHECK(posix_memalign(&e, 64, n) == 0 && a && b && c && d);
        CHECK(errno == n);
        free(a), free(b), free(c), free(d), free(e), free(NULL);
        free(malloc(3 << 20));
        malloc_usable_size(NULL);
        CHECK(errno == n);
        if (n % 500 == 0) {
            malloc_trim(0);
            CHECK(errno == n);
        }
    }
    puts("ok");
}
