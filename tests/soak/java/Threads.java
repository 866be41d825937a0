/** Many threads that live for one piece of work. */
class Threads implements Storm {
    public long round(int number) throws Exception {
        return Work.inThreads(24, own -> own % 3 == 0 ? Work.packed(number + own) : own * 31L);
    }
}
