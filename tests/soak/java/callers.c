// Native threads that attach themselves to the Java VM, call it, and detach; callers without frame pointers.
#include <jni.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

static JavaVM *machine;
static jclass class;
static jmethodID back;

JNIEXPORT jint JNI_OnLoad(JavaVM *vm, void *none) {
    machine = vm;
    return JNI_VERSION_1_8;
}

// Before the first thread: a class that a thread looks up by itself would be another loader's.
static void prepare(JNIEnv *env, jclass own) {
    if (class) return;
    back = (*env)->GetStaticMethodID(env, own, "back", "(I)J");
    class = (*env)->NewGlobalRef(env, own);
}

// What the call returned; 3 if it threw, which ends here.
static jlong call(JNIEnv *env, jint number) {
    void *volatile block = malloc(100 + number % 5000);
    jlong value = (*env)->CallStaticLongMethod(env, class, back, number);
    if ((*env)->ExceptionCheck(env)) {
        (*env)->ExceptionClear(env);
        value = 3;
    }
    free(block);
    return value;
}

static void *thread(void *argument) {
    int number = (int)(intptr_t)argument;
    JNIEnv *env;
    jlong sum = 0;
    // Twice: a thread may be a Java thread again.
    for (int n = 0; n < 2; n++) {
        if ((*machine)->AttachCurrentThreadAsDaemon(machine, (void **)&env, NULL) != JNI_OK) return NULL;
        sum += call(env, number + n);
        jintArray array = (*env)->NewIntArray(env, 1000);
        if (array) {
            jint *ints = (*env)->GetIntArrayElements(env, array, NULL);
            if (ints) (*env)->ReleaseIntArrayElements(env, array, ints, 0);
        }
        (*machine)->DetachCurrentThread(machine);
        free(malloc(3000));
    }
    return (void *)(intptr_t)sum;
}

JNIEXPORT jlong JNICALL Java_Attach_threads(JNIEnv *env, jclass own, jint count, jint number) {
    prepare(env, own);
    pthread_t threads[64];
    jlong sum = 0;
    int started = 0;
    for (; started < count && started < 64; started++)
        if (pthread_create(&threads[started], NULL, thread, (void *)(intptr_t)(number + started))) break;
    for (int n = 0; n < started; n++) {
        void *result;
        pthread_join(threads[n], &result);
        sum += (intptr_t)result;
    }
    return sum;
}

__attribute__((noinline)) static jlong deeper(JNIEnv *env, jint depth, jint number) {
    if (depth <= 0) return call(env, number);
    volatile char room[200];
    room[depth % 200] = 1;
    return deeper(env, depth - 1, number) + room[depth % 200];
}

JNIEXPORT jlong JNICALL Java_Attach_through(JNIEnv *env, jclass own, jint depth, jint number) {
    prepare(env, own);
    return deeper(env, depth, number);
}
