// What libc allocates and the program frees.
#include "check.h"
#include <dirent.h>
#include <execinfo.h>
#include <glob.h>
#include <locale.h>
#include <netdb.h>
#include <regex.h>
#include <search.h>
#include <wchar.h>
#include <wordexp.h>

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

int main(void) {
    setlocale(LC_ALL, "");
    for (int round = 0; round < 20; round++) {
        free(strdup("text")), free(strndup("text", 2)), free(wcsdup(L"wide"));
        char *text;
        CHECK(asprintf(&text, "%d %s %10.3f", round, "words", 1.5) > 0);
        free(text);
        FILE *file = tmpfile();
        fprintf(file, "%*d\nlast", 3000, round), rewind(file);
        char *line = NULL;
        size_t size = 0;
        CHECK(getline(&line, &size, file) == 3001 && getline(&line, &size, file) == 4);
        free(line), fclose(file);
        char *memory;
        FILE *stream = open_memstream(&memory, &size);
        for (int n = 0; n < 5000; n++) fprintf(stream, "%d,", n);
        fclose(stream);
        CHECK(strlen(memory) == size);
        free(memory);
        struct dirent **names;
        int count = scandir("/", &names, NULL, alphasort);
        CHECK(count > 3);
        while (count--) free(names[count]);
        free(names);
        char *path = realpath("/proc/../usr/./bin", NULL), *here = getcwd(NULL, 0);
        CHECK(path && here);
        free(path), free(here), free(get_current_dir_name());
        wordexp_t words;
        CHECK(wordexp("a \"b c\" $HOME", &words, WRDE_NOCMD) == 0);
        wordfree(&words);
        glob_t found;
        CHECK(glob("/usr/*", 0, NULL, &found) == 0);
        globfree(&found);
        regex_t regex;
        CHECK(regcomp(&regex, "^(a+|b*)c{2,5}$", REG_EXTENDED) == 0 && regexec(&regex, "aacc", 0, NULL, 0) == 0);
        regfree(&regex);
        struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *addresses;
        CHECK(getaddrinfo("127.0.0.1", "80", &hints, &addresses) == 0);
        freeaddrinfo(addresses);
        void *stack[16];
        char **symbols = backtrace_symbols(stack, backtrace(stack, 16));
        CHECK(symbols);
        free(symbols);
        void *tree = NULL;
        tsearch("a", &tree, by_name), tsearch("b", &tree, by_name);
        tdelete("a", &tree, by_name), tdelete("b", &tree, by_name);
        char name[20];
        snprintf(name, sizeof name, "NAME%d", round);
        CHECK(setenv(name, "value", 1) == 0);
        file = popen("true", "r");
        CHECK(file && pclose(file) == 0);
    }
    puts("ok");
}
