//! Which frames a reader wants to see: allocators and their wrappers are folded from the leaf, and
//! the first frame that is neither runtime nor system library is where somebody's own code begins.
//!
//! Tables of names; to extend them, add a line. Matching is on the short name (no parameters).

use crate::cli::profile::Profile;
use crate::cli::profile::location::{Function, Line, Origin};
use crate::cli::profile::sample::Sample;

/// Libraries whose every frame is allocator machinery.
const ALLOCATOR_LIBRARIES: [&str; 6] =
    ["libheaptap", "libjemalloc", "libtcmalloc", "libmimalloc", "libsnmalloc", "libhardened_malloc"];

/// Functions that only pass an allocation on.
const ALLOCATORS: [&str; 61] = [
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "posix_memalign",
    "aligned_alloc",
    "valloc",
    "pvalloc",
    "free",
    "cfree",
    "strdup",
    "strndup",
    "__strdup",
    "__strndup",
    "mallocx",
    "rallocx",
    "__libc_malloc",
    "__libc_calloc",
    "__libc_realloc",
    "__libc_memalign",
    "operator new",
    "operator new[]",
    "os::malloc",
    "os::realloc",
    "os::strdup",
    "os::strdup_check_oom",
    "AllocateHeap",
    "ReallocateHeap",
    "AnyObj::operator new",
    "ResourceObj::operator new",
    "Arena::grow",
    "Arena::Amalloc",
    "Arena::Arena",
    "Arena::internal_amalloc",
    "Chunk::operator new",
    "Chunk::allocate_chunk",
    "ChunkPool::allocate",
    "ChunkPool::allocate_chunk",
    "Arena::operator new",
    "CHeapBitMap::reallocate",
    "MallocTracker::record_malloc",
    "CRYPTO_malloc",
    "CRYPTO_zalloc",
    "CRYPTO_realloc",
    "CRYPTO_strdup",
    "zcalloc",
    "g_malloc",
    "g_malloc0",
    "g_realloc",
    "g_strdup",
    "xmalloc",
    "xcalloc",
    "xrealloc",
    "xstrdup",
    "PyMem_Malloc",
    "PyMem_RawMalloc",
    "PyObject_Malloc",
    "__rust_alloc",
    "__rust_realloc",
    "alloc::alloc::exchange_malloc",
];

/// Beginnings of such names.
const ALLOCATOR_PREFIXES: [&str; 21] = [
    "je_",
    "_rjem_",
    "prof_backtrace",
    "prof_tctx_create",
    "prof_alloc_prep",
    "imalloc",
    "fallback_impl",
    "fallbackNew",
    "std::allocator",
    "__gnu_cxx::new_allocator",
    "std::__new_allocator",
    "CHeapObj<",
    "_PyMem_",
    "_PyObject_Malloc",
    "_PyObject_Realloc",
    "alloc::raw_vec::",
    "<alloc::alloc::",
    "alloc::alloc::",
    "__rdl_",
    "__rustc::__r",
    "__rg_",
];

/// Libraries that serve every program: what they hold, somebody else asked for.
const SYSTEM_LIBRARIES: [&str; 28] = [
    "libc.so",
    "libc-",
    "ld-linux",
    "ld-2",
    "ld-musl",
    "libpthread",
    "libdl",
    "libm.so",
    "libm-",
    "librt",
    "libstdc++",
    "libgcc_s",
    "libz.so",
    "libzstd",
    "liblz4",
    "libsnappy",
    "libcrypto",
    "libssl",
    "libjvm.so",
    "libjava.so",
    "libzip.so",
    "libnio.so",
    "libnet.so",
    "libjli.so",
    "libjimage.so",
    "libverify.so",
    "libinstrument.so",
    "libjdwp.so",
];

/// Packages of the Java platform.
const PLATFORM_PACKAGES: [&str; 5] = ["java.", "javax.", "jdk.", "sun.", "com.sun."];

/// Whether the frame is allocator machinery or a wrapper around it.
pub(crate) fn is_glue(function: &Function) -> bool {
    if function.origin == Origin::Java {
        return false;
    }
    ALLOCATOR_LIBRARIES.iter().any(|library| function.library.starts_with(library))
        || ALLOCATORS.contains(&function.name.as_str())
        || ALLOCATOR_PREFIXES.iter().any(|prefix| function.name.starts_with(prefix))
        || function.name.ends_with("::operator new")
}

/// Whether the frame belongs to the program itself rather than to its platform.
pub(crate) fn is_application(function: &Function) -> bool {
    match function.origin {
        Origin::Java => !PLATFORM_PACKAGES.iter().any(|package| function.name.starts_with(package)),
        Origin::Native => {
            !function.library.is_empty()
                && !SYSTEM_LIBRARIES.iter().any(|library| function.library.starts_with(library))
        }
        Origin::Unknown => function.library.is_empty() && function.name == "[Java code]",
    }
}

/// The frames of a sample, leaf first, inlined ones expanded, allocator glue folded away from the
/// leaf. A stack of nothing but glue keeps its outermost frame.
pub(crate) fn visible(profile: &Profile, sample: &Sample) -> Vec<Line> {
    let all: Vec<Line> = sample.stack.iter().flat_map(|id| profile.location(*id).lines.iter().copied()).collect();
    let glue = all.iter().take_while(|line| profile.function(line.function).is_some_and(is_glue)).count();
    let folded = glue.min(all.len().saturating_sub(1));
    all.get(folded..).unwrap_or(&[]).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, library: &str, origin: Origin) -> Function {
        Function { name: name.into(), library: library.into(), origin, ..Function::default() }
    }

    #[test]
    fn glue_and_application_are_told_apart() {
        let glue = [
            ("malloc", "libc.so.6"),
            ("0x12", "libjemalloc.so.2"),
            ("CHeapObj<(MEMFLAGS)5>::operator new", "libjvm.so"),
        ];
        assert!(glue.iter().all(|(name, library)| is_glue(&function(name, library, Origin::Native))));
        assert!(!is_glue(&function("deflateInit2_", "libz.so.1", Origin::Native)));
        assert!(!is_glue(&function("je_main", "", Origin::Java)));
        assert!(is_application(&function("org.x.Leak.run", "", Origin::Java)));
        assert!(!is_application(&function("java.util.zip.Inflater.init", "", Origin::Java)));
        assert!(is_application(&function("load_table", "server", Origin::Native)));
        assert!(!is_application(&function("inflateInit2_", "libz.so.1", Origin::Native)));
    }
}
