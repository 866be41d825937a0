/* A JNI library built without unwind tables, which keeps anything in the frame pointer's register. */
#include <jni.h>
#include <stdlib.h>

JNIEXPORT jlong JNICALL Java_Leaks_block(JNIEnv *jni, jclass class, jlong bytes) {
    (void)jni, (void)class;
    char *volatile block = malloc(bytes);
    __asm__ volatile("" ::: "memory", "rbx", "r12");
    return (jlong)block;
}

JNIEXPORT void JNICALL Java_Leaks_callBack(JNIEnv *jni, jclass class, jobject task) {
    (void)class;
    jclass type = (*jni)->GetObjectClass(jni, task);
    (*jni)->CallVoidMethod(jni, task, (*jni)->GetMethodID(jni, type, "run", "()V"));
    (*jni)->DeleteLocalRef(jni, type);
}
