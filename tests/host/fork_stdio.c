// fork while others read lines and flush all streams: stock jemalloc hangs here (glibc's tst-malloc-fork-deadlock).
#include "check.h"
#include <pthread.h>
#include <sys/wait.h>

static volatile int stop;

static void *flusher(void *none) {
    while (!stop) fflush(NULL);
    return none;
}
static void *reader(void *name) {
    while (!stop) {
        FILE *file = fopen(name, "r");
        char *line = NULL;
        size_t size = 0;
        while (getline(&line, &size, file) > 0) continue;
        free(line), fclose(file);
    }
    return NULL;
}

int main(void) {
    FILE *file = fopen("lines", "w");
    for (int n = 0; n < 100; n++) fprintf(file, "%*d\n", n * 10, n);
    fclose(file);
    pthread_t threads[4];
    for (int n = 0; n < 4; n++) pthread_create(&threads[n], NULL, n % 2 ? flusher : reader, "lines");
    for (int n = 0; n < 150; n++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            char *text;
            CHECK(asprintf(&text, "%d", n) > 0);
            free(text);
            churn(20);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    stop = 1;
    for (int n = 0; n < 4; n++) pthread_join(threads[n], NULL);
    puts("ok");
}
