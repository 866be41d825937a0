// A library for those who open one: allocates with its own calls to libc, and frees what it gets from libc.
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) void *plugin_alloc(unsigned size) {
    char *block = malloc(size + 1);
    memset(block, 1, size + 1);
    return block;
}
void *plugin_work(unsigned size) {
    char *copy = strdup("libc allocates, the library frees");
    free(copy);
    char *path = realpath("/usr", NULL);
    free(path);
    return plugin_alloc(size);
}
void plugin_free(void *block) { free(block); }
// Whose malloc this library's calls reach.
void *plugin_malloc(void) { return (void *)malloc; }
