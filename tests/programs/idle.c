// Takes MIB blocks of a MiB within its first half second, then serves from what it has for SECONDS and hardly asks for
// memory again: a cache, a database, a prefork master. SIGTERM ends it before its time. With a third argument it gives
// everything back at the end.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *blocks[1024];
static volatile sig_atomic_t is_over;

static void end(int signal) { is_over = signal; }

int main(int count, char **arguments) {
    int mib = atoi(arguments[1]), tenths = atoi(arguments[2]) * 10;
    signal(SIGTERM, end);
    for (int i = 0; i < mib && i < 1024; i++) memset(blocks[i] = malloc(1 << 20), 1, 1 << 20);
    for (int i = 0; i < tenths && !is_over; i++) {
        free(malloc(200));
        usleep(100000);
    }
    for (int i = 0; count > 3 && i < mib && i < 1024; i++) free(blocks[i]);
    return 0;
}
