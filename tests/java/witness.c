/* A JVMTI agent that notes what the virtual machine itself says of the stack at a point where it also allocates: the
 * test compares that with the stacks of those allocations in heaptap's dump. Test only; the tap never uses JVMTI.
 *
 * Every look is one line of the file that the agent's option names: `class.method:line;…`, leaf first. Classes are
 * written as in the class file; the line is 0 for native methods and methods without a table. */
#include <jvmti.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4321, MAX_FRAMES = 512, MANY = 1 << 16 };

struct method {
    jmethodID id;
    char *name;
    jint entries;
    jvmtiLineNumberEntry *lines;
};

static jvmtiEnv *jvmti;
static FILE *notes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct method methods[MANY];

static void fail(const char *what, int error) {
    fprintf(stderr, "witness: %s: %d\n", what, error);
    _exit(99);
}

/* `Lcom/shop/Cart;` to `com/shop/Cart`. */
static char *name_of(JNIEnv *jni, jmethodID id) {
    jclass class;
    char *signature, *method, *name;
    int error = (*jvmti)->GetMethodDeclaringClass(jvmti, id, &class);
    if (error || (error = (*jvmti)->GetClassSignature(jvmti, class, &signature, NULL))
        || (error = (*jvmti)->GetMethodName(jvmti, id, &method, NULL, NULL)))
        fail("names", error);
    size_t length = strlen(signature) - 2;
    name = malloc(length + strlen(method) + 2);
    sprintf(name, "%.*s.%s", (int)length, signature + 1, method);
    (*jni)->DeleteLocalRef(jni, class);
    return name;
}

static struct method *find(JNIEnv *jni, jmethodID id) {
    uint64_t at = (uint64_t)(uintptr_t)id * 0x9e3779b97f4a7c15u >> 48;
    while (methods[at % MANY].id && methods[at % MANY].id != id)
        at++;
    struct method *method = &methods[at % MANY];
    if (!method->id) {
        method->name = name_of(jni, id);
        if ((*jvmti)->GetLineNumberTable(jvmti, id, &method->entries, &method->lines))
            method->entries = 0;
        method->id = id;
    }
    return method;
}

/* The line of the entry for this location, or of the nearest before. */
static int line_of(const struct method *method, jlocation location) {
    jlocation best = -1;
    int line = 0;
    for (jint i = 0; i < method->entries; i++) {
        jlocation start = method->lines[i].start_location;
        if (start <= (location < 0 ? 0 : location) && start > best) {
            best = start;
            line = method->lines[i].line_number;
        }
    }
    return line;
}

JNIEXPORT void JNICALL Java_Shapes_look(JNIEnv *jni, jclass class) {
    (void)class;
    static __thread jvmtiFrameInfo frames[MAX_FRAMES];
    jint count;
    char *volatile block = malloc(BLOCK_BYTES);
    int error = (*jvmti)->GetStackTrace(jvmti, NULL, 0, MAX_FRAMES, frames, &count);
    if (!block || error)
        fail("stack", error);
    pthread_mutex_lock(&lock);
    for (jint i = 0; i < count; i++) {
        const struct method *method = find(jni, frames[i].method);
        fprintf(notes, "%s%s:%d", i ? ";" : "", method->name, line_of(method, frames[i].location));
    }
    fputc('\n', notes);
    fflush(notes);
    pthread_mutex_unlock(&lock);
}

JNIEXPORT void JNICALL Java_Shapes_callBack(JNIEnv *jni, jclass class, jobject task) {
    (void)class;
    jclass type = (*jni)->GetObjectClass(jni, task);
    (*jni)->CallVoidMethod(jni, task, (*jni)->GetMethodID(jni, type, "run", "()V"));
    (*jni)->DeleteLocalRef(jni, type);
}

static void JNICALL storm(jvmtiEnv *env, JNIEnv *jni, void *argument) {
    (void)env, (void)jni;
    jclass class = argument;
    jint count;
    jmethodID *ids;
    int error = (*jvmti)->GetClassMethods(jvmti, class, &count, &ids);
    if (error)
        fail("methods", error);
    for (unsigned turn = 0, seed = 1;; turn++) {
        usleep(2000 + turn % 7 * 1000);
        seed = seed * 1103515245 + 12345;
        if (turn % 4 == 3) {
            (*jvmti)->RetransformClasses(jvmti, 1, &class);
        } else if (!(*jvmti)->SetBreakpoint(jvmti, ids[(seed >> 16) % count], 0)) {
            usleep(300);
            (*jvmti)->ClearBreakpoint(jvmti, ids[(seed >> 16) % count], 0);
        }
    }
}

static void JNICALL ignore_breakpoint(jvmtiEnv *env, JNIEnv *jni, jthread thread, jmethodID method, jlocation at) {
    (void)env, (void)jni, (void)thread, (void)method, (void)at;
}

JNIEXPORT void JNICALL Java_Shapes_storm(JNIEnv *jni, jclass class) {
    jclass type = (*jni)->FindClass(jni, "java/lang/Thread");
    jobject thread = (*jni)->NewObject(jni, type, (*jni)->GetMethodID(jni, type, "<init>", "()V"));
    jobject argument = (*jni)->NewGlobalRef(jni, class);
    int error = (*jvmti)->SetEventNotificationMode(jvmti, JVMTI_ENABLE, JVMTI_EVENT_BREAKPOINT, NULL);
    if (error || (error = (*jvmti)->RunAgentThread(jvmti, thread, storm, argument, JVMTI_THREAD_NORM_PRIORITY)))
        fail("storm", error);
}

JNIEXPORT jint JNICALL Agent_OnLoad(JavaVM *vm, char *options, void *reserved) {
    (void)reserved;
    jvmtiCapabilities wanted = {
        .can_get_line_numbers = 1, .can_generate_breakpoint_events = 1, .can_retransform_classes = 1};
    jvmtiEventCallbacks callbacks = {.Breakpoint = ignore_breakpoint};
    notes = fopen(options, "w");
    if (!notes || (*vm)->GetEnv(vm, (void **)&jvmti, JVMTI_VERSION_1_2)
        || (*jvmti)->AddCapabilities(jvmti, &wanted)
        || (*jvmti)->SetEventCallbacks(jvmti, &callbacks, sizeof callbacks))
        fail("start", 0);
    return 0;
}
