//! The classes of resident memory, in the order in which checkpoints hold them.

/// A kind of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Objects of the Java program.
    JavaHeap,
    /// Classes of the Java program.
    Metaspace,
    /// Tables of the garbage collector: cards, marks, remembered regions.
    GcStructures,
    /// Compiled Java code, and other code without a file.
    CodeCache,
    /// What else a Java VM, or a library in it, has mapped.
    JvmOther,
    /// Stacks of threads.
    ThreadStacks,
    /// All of malloc; divided into the next two once the live bytes are known.
    Malloc,
    /// What the program has from malloc.
    MallocLive,
    /// What the allocator keeps.
    MallocRetained,
    /// The tap's tables and code.
    Tap,
    /// Files: programs, libraries, indices. The kernel can take most of it back.
    MappedFiles,
    /// Shared memory.
    Shared,
    /// Anonymous memory that is not malloc's.
    Other,
}

/// Classes that are measured: those that malloc is divided into are not.
pub(crate) const MEASURED: [Class; 11] = [
    Class::JavaHeap,
    Class::Metaspace,
    Class::GcStructures,
    Class::CodeCache,
    Class::JvmOther,
    Class::ThreadStacks,
    Class::Malloc,
    Class::Tap,
    Class::MappedFiles,
    Class::Shared,
    Class::Other,
];

impl Class {
    /// Its word in the metadata of dumps (`rss_<word>: <bytes>`) and in JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Class::JavaHeap => "java_heap",
            Class::Metaspace => "metaspace",
            Class::GcStructures => "gc_structures",
            Class::CodeCache => "code_cache",
            Class::JvmOther => "jvm_other",
            Class::ThreadStacks => "thread_stacks",
            Class::Malloc => "malloc",
            Class::MallocLive => "malloc_live",
            Class::MallocRetained => "malloc_retained",
            Class::Tap => "tap",
            Class::MappedFiles => "mapped_files",
            Class::Shared => "shared",
            Class::Other => "other",
        }
    }

    /// Its place among those that are measured.
    pub(crate) fn place(self) -> Option<usize> {
        MEASURED.iter().position(|class| *class == self)
    }
}
