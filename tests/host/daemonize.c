// The classic daemon: two forks, setsid, umask 0, everything closed, the folder left.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

int main(void) {
    churn(500);
    char home[4096];
    CHECK(getcwd(home, sizeof home));
    pid_t child = fork();
    if (child == 0) {
        setsid();
        if (fork() > 0) _exit(0);
        umask(0);
        chdir("/");
        for (int fd = 0; fd < 1024; fd++) close(fd);
        int null = open("/dev/null", O_RDWR), out = dup(null);
        char path[4200], temporary[4200];
        snprintf(temporary, sizeof temporary, "%s/result.tmp", home);
        snprintf(path, sizeof path, "%s/result", home);
        int log = open(temporary, O_RDWR | O_CREAT, 0644);
        churn(5000);
        dprintf(log, "%d %d %d\n", null, out, log);
        rename(temporary, path);
        exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    for (int n = 0; n < 20000 && access("result", R_OK) != 0; n++) usleep(10000);
    FILE *result = fopen("result", "r");
    char line[200] = "";
    CHECK(result && fgets(line, sizeof line, result) && !fgets(line + 100, 100, result));
    printf("%sok\n", line);
}
