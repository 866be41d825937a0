// leaker COUNT [SECONDS [PATTERN]]: keeps COUNT blocks of 1000 bytes, from one place, over so many seconds, and prints
// its pid. It ends before its time, a second after there is a file whose name fits.
#include "check.h"
#include <glob.h>

__attribute__((noinline)) static void leak(void) {
    char *volatile block = malloc(1000);
    memset(block, 1, 1000);
}

static int is_there(const char *pattern) {
    glob_t found;
    int result = glob(pattern, 0, NULL, &found);
    globfree(&found);
    return result == 0;
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 100, pause = argc > 2 ? atoi(argv[2]) * 1000000 / count : 0;
    for (int n = count; n > 0; n--) {
        leak();
        if (argc > 3 && is_there(argv[3])) {
            sleep(1);
            break;
        }
        if (pause) usleep(pause);
    }
    dprintf(1, "%d\n", getpid());
    return 0;
}
