/* The native half of DeepJava: times one sampled allocation, or one AsyncGetCallTrace at the same point.
 * As an agent (-agentpath) it makes the method ids that AsyncGetCallTrace answers with. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <jvmti.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <ucontext.h>

enum { MANY = 1 << 20, MAX_FRAMES = 512 };

/* HotSpot's forte.cpp. */
typedef struct {
    jint line;
    jmethodID method;
} call_frame;
typedef struct {
    JNIEnv *jni;
    jint count;
    call_frame *frames;
} call_trace;

static void (*get_call_trace)(call_trace *, jint, void *);
static unsigned nanoseconds[MANY];
static long noted, frames_seen;

static unsigned long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ul + time.tv_nsec;
}

static void note(unsigned long took) {
    if (noted < MANY)
        nanoseconds[noted++] = took;
}

JNIEXPORT void JNICALL Java_DeepJava_measure(JNIEnv *jni, jclass class) {
    (void)class;
    if (get_call_trace) {
        call_frame frames[MAX_FRAMES];
        call_trace trace = {jni, 0, frames};
        ucontext_t context;
        getcontext(&context);
        unsigned long start = now();
        get_call_trace(&trace, MAX_FRAMES, &context);
        note(now() - start);
        frames_seen += trace.count;
        return;
    }
    unsigned long start = now();
    char *volatile block = malloc(100);
    free(block);
    note(now() - start);
}

JNIEXPORT void JNICALL Java_DeepJava_begin(JNIEnv *jni, jclass class, jboolean traces) {
    (void)jni, (void)class;
    noted = frames_seen = 0;
    if (traces)
        *(void **)&get_call_trace = dlsym(RTLD_DEFAULT, "AsyncGetCallTrace");
    if (traces && !get_call_trace) {
        /* libjvm is not in the global scope: the launcher opened it. */
        void *jvm = dlopen("libjvm.so", RTLD_NOW | RTLD_NOLOAD);
        *(void **)&get_call_trace = jvm ? dlsym(jvm, "AsyncGetCallTrace") : NULL;
    }
    if (traces && !get_call_trace) {
        fprintf(stderr, "no AsyncGetCallTrace\n");
        exit(1);
    }
}

static int ascending(const void *a, const void *b) {
    unsigned first = *(const unsigned *)a, second = *(const unsigned *)b;
    return (first > second) - (first < second);
}

JNIEXPORT void JNICALL Java_DeepJava_report(JNIEnv *jni, jclass class) {
    (void)jni, (void)class;
    qsort(nanoseconds, noted, sizeof *nanoseconds, ascending);
    printf("%u %u %ld\n", nanoseconds[noted / 2], nanoseconds[noted / 100 * 99], frames_seen / noted);
    fflush(stdout);
}

static void JNICALL make_ids(jvmtiEnv *jvmti, JNIEnv *jni, jthread thread, jclass class) {
    (void)jni, (void)thread;
    jint count;
    jmethodID *ids;
    if (!(*jvmti)->GetClassMethods(jvmti, class, &count, &ids))
        (*jvmti)->Deallocate(jvmti, (unsigned char *)ids);
}

/* Ids are made only where somebody wants class loads to be told, too. */
static void JNICALL ignore(jvmtiEnv *jvmti, JNIEnv *jni, jthread thread, jclass class) {
    (void)jvmti, (void)jni, (void)thread, (void)class;
}

static void JNICALL make_all_ids(jvmtiEnv *jvmti, JNIEnv *jni, jthread thread) {
    jint count;
    jclass *classes;
    if ((*jvmti)->GetLoadedClasses(jvmti, &count, &classes))
        return;
    for (jint i = 0; i < count; i++)
        make_ids(jvmti, jni, thread, classes[i]);
}

JNIEXPORT jint JNICALL Agent_OnLoad(JavaVM *vm, char *options, void *reserved) {
    (void)options, (void)reserved;
    jvmtiEnv *jvmti;
    jvmtiEventCallbacks callbacks = {.ClassLoad = ignore, .ClassPrepare = make_ids, .VMInit = make_all_ids};
    if ((*vm)->GetEnv(vm, (void **)&jvmti, JVMTI_VERSION_1_2)
        || (*jvmti)->SetEventCallbacks(jvmti, &callbacks, sizeof callbacks))
        return 1;
    (*jvmti)->SetEventNotificationMode(jvmti, JVMTI_ENABLE, JVMTI_EVENT_CLASS_LOAD, NULL);
    (*jvmti)->SetEventNotificationMode(jvmti, JVMTI_ENABLE, JVMTI_EVENT_CLASS_PREPARE, NULL);
    (*jvmti)->SetEventNotificationMode(jvmti, JVMTI_ENABLE, JVMTI_EVENT_VM_INIT, NULL);
    return 0;
}
