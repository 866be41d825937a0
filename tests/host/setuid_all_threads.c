// setuid reaches every thread, and waits for all of them.
#include "check.h"
#include <dirent.h>
#include <pthread.h>
#include <sys/syscall.h>

static volatile int stop;
static void *worker(void *none) {
    while (!stop) churn(50);
    CHECK(syscall(SYS_getuid) == 65534);
    return none;
}

int main(void) {
    NEED(getuid() == 0);
    pthread_t threads[3];
    for (int n = 0; n < 3; n++) pthread_create(&threads[n], NULL, worker, NULL);
    churn(5000);
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.') continue;
        char path[64 + 256], line[256];
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        FILE *status = fopen(path, "r");
        if (!status) continue;
        unsigned real = 0, effective = 0;
        while (fgets(line, sizeof line, status)) sscanf(line, "Uid: %u %u", &real, &effective);
        fclose(status);
        CHECK(real == 65534 && effective == 65534);
    }
    closedir(tasks);
    stop = 1;
    for (int n = 0; n < 3; n++) pthread_join(threads[n], NULL);
    puts("ok");
}
