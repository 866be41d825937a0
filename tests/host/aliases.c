// glibc's second names hand out and take the same blocks as the first ones.
#include "check.h"
#include <dlfcn.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t), *__libc_valloc(size_t), *__libc_pvalloc(size_t);
extern void __libc_free(void *);
extern int __posix_memalign(void **, size_t, size_t);

int main(void) {
    for (size_t size = 1; size < 200000; size = size * 3 + 5) {
        free(__libc_malloc(size));
        free(__libc_calloc(2, size));
        free(__libc_realloc(malloc(4), size));
        free(realloc(__libc_malloc(4), size));
        free(__libc_memalign(128, size));
        free(__libc_valloc(size));
        free(__libc_pvalloc(size));
        __libc_free(malloc(size));
        __libc_free(calloc(2, size));
    }
    // Gone from glibc's headers, still in the library for old binaries.
    void (*cfree)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "cfree");
    if (cfree) cfree(malloc(100));
    // C23's are not in every libc.
    void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
    void (*free_aligned)(void *, size_t, size_t) = (void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");
    for (size_t size = 1; size < 200000; size = size * 3 + 5) {
        errno = 0x55;
        if (free_sized) free_sized(malloc(size), size), free_sized(calloc(3, size), 3 * size), free_sized(NULL, size);
        if (free_aligned) free_aligned(aligned_alloc(64, (size + 63) & ~63ul), 64, (size + 63) & ~63ul);
        CHECK(errno == 0x55);
    }
    puts("ok");
}
