// A real-time thread on a processor of its own is the first that a profiler meets: a helper thread that it starts is a
// plain one, on the processors of the process, and no less nice than the main thread.
#include "check.h"
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

static void *volatile held;
static int is_real_time;
static void *work(void *none) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    struct sched_param lowest = {1};
    is_real_time = sched_setscheduler(0, SCHED_FIFO, &lowest) == 0;
    if (!is_real_time) setpriority(PRIO_PROCESS, 0, 7);
    held = malloc(100 << 20);
    for (int n = 0; n < 100; n++) {
        void *volatile block = malloc(1 << 20);
        free(block);
    }
    return none;
}

// A thread of that name, 0: there is none.
static pid_t find(const char *name) {
    pid_t found = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; (task = readdir(tasks));) {
        char path[300], line[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *comm = fopen(path, "r");
        if (!comm) continue;
        if (fgets(line, sizeof line, comm) && strcmp(line, name) == 0) found = atoi(task->d_name);
        fclose(comm);
    }
    closedir(tasks);
    return found;
}

static int is_plain(pid_t helper, const cpu_set_t *whole) {
    cpu_set_t other;
    CHECK(sched_getaffinity(helper, sizeof other, &other) == 0);
    int main_nice = getpriority(PRIO_PROCESS, 0), nice = getpriority(PRIO_PROCESS, helper);
    int is_nice = nice >= main_nice && (nice < 19 || main_nice >= 14) && nice != main_nice + 7;
    return sched_getscheduler(helper) == SCHED_OTHER && CPU_EQUAL(whole, &other) && is_nice;
}

int main(void) {
    cpu_set_t whole;
    CHECK(sched_getaffinity(0, sizeof whole, &whole) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, work, NULL) == 0 && pthread_join(thread, NULL) == 0);
    pid_t helper = 0;
    for (int n = 0; n < 20000 && !(helper = find("heaptap\n")) && getenv("LD_PRELOAD"); n++) usleep(10000);
    CHECK(helper || !getenv("LD_PRELOAD"));
    // It has its name a little before it has its schedule.
    for (int n = 0; helper && n < 20000 && !is_plain(helper, &whole); n++) usleep(10000);
    CHECK(!helper || is_plain(helper, &whole));
    puts("ok");
}
