/* A JNI library built without unwind tables, which keeps anything in the frame pointer's register. */
#include <jni.h>
#include <stdlib.h>

JNIEXPORT jlong JNICALL Java_Leaks_block(JNIEnv *jni, jclass class, jlong bytes) {
    (void)jni, (void)class;
    char *volatile block = malloc(bytes);
    __asm__ volatile("" ::: "memory", "rbx", "r12");
    return (jlong)block;
}
