/** What a thread of {@link Soak} does again and again. */
interface Storm {
    /** One round of work. What it returns depends on the round's number only: a profiler must not change it. */
    long round(int number) throws Exception;
}
