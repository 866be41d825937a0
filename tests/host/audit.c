// The auditing library of `audited`: allocates in its own namespace while objects come and go.
#define _GNU_SOURCE
#include <link.h>
#include <stdlib.h>
#include <string.h>

static char *last;

unsigned la_version(unsigned version) { return version; }
unsigned la_objopen(struct link_map *map, Lmid_t list, uintptr_t *cookie) {
    (void)list, (void)cookie;
    free(last);
    last = strdup(map->l_name);
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}
unsigned la_objclose(uintptr_t *cookie) {
    (void)cookie;
    free(last);
    last = calloc(1, 300);
    return 0;
}
