//! Hints for causes that never stop recurring. The table is `culprits.txt`: to teach heaptap a new
//! one, add a line there.

use crate::cli::profile::Profile;
use crate::cli::profile::location::FunctionId;
use rustc_hash::FxHashMap;
use serde::Serialize;

/// How such a site behaves (the words of the table).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A resource that somebody forgets to give back.
    Leak,
    /// Freed when the garbage collector finds its owner.
    Gc,
    /// Grows to a bound.
    Pool,
    /// Memory of a compiler: comes and goes.
    Jit,
    /// Tables of the virtual machine.
    Jvm,
}

/// A known cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Culprit {
    /// What a frame's name must contain.
    pattern: &'static str,
    /// How it behaves.
    pub(crate) kind: Kind,
    /// What it is.
    pub(crate) title: &'static str,
    /// What to do.
    pub(crate) advice: &'static str,
}

const TABLE: &str = include_str!("culprits.txt");

fn table() -> impl Iterator<Item = Culprit> {
    lines().filter_map(|line| {
        let mut parts = line.splitn(4, '|').map(str::trim);
        let (pattern, kind) = (parts.next()?, kind(parts.next()?)?);
        Some(Culprit { pattern, kind, title: parts.next()?, advice: parts.next()? })
    })
}

fn lines() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word {
        "leak" => Kind::Leak,
        "gc" => Kind::Gc,
        "pool" => Kind::Pool,
        "jit" => Kind::Jit,
        "jvm" => Kind::Jvm,
        _ => return None,
    })
}

/// The known causes that the functions of one profile show: each name is searched once, as a name
/// stands in thousands of sites.
pub(crate) struct Culprits {
    table: Vec<Culprit>,
    /// Per function: index in `table`.
    of_function: Vec<Option<usize>>,
}

impl Culprits {
    /// Searches all names.
    pub(crate) fn of(profile: &Profile) -> Culprits {
        let table: Vec<Culprit> = table().collect();
        let search = Search::of(&table);
        let of_function = profile.functions.iter().map(|function| search.first(&function.name)).collect();
        Culprits { table, of_function }
    }

    /// The cause that stands first in the table among those that any of these functions shows.
    pub(crate) fn recognise(&self, functions: impl Iterator<Item = FunctionId>) -> Option<Culprit> {
        let found = functions.filter_map(|id| self.of_function.get(id.index()).copied().flatten()).min()?;
        self.table.get(found).copied()
    }

    /// The first cause that a name shows.
    pub(crate) fn of_name(&self, name: &str) -> Option<Culprit> {
        self.table.iter().find(|culprit| name.contains(culprit.pattern)).copied()
    }
}

/// All patterns at once: at each letter of a name only those are tried that begin with it and the next one.
struct Search<'a> {
    table: &'a [Culprit],
    /// Pairs of letters that patterns begin with, one bit each.
    begins: Vec<u64>,
    by_pair: FxHashMap<[u8; 2], Vec<usize>>,
}

impl<'a> Search<'a> {
    fn of(table: &'a [Culprit]) -> Search<'a> {
        let mut search = Search { table, begins: vec![0; 1 << 10], by_pair: FxHashMap::default() };
        for (index, culprit) in table.iter().enumerate() {
            let Some(pair) = culprit.pattern.as_bytes().first_chunk::<2>() else { continue };
            let bit = usize::from(u16::from_le_bytes(*pair));
            search.begins.get_mut(bit / 64).into_iter().for_each(|word| *word |= 1 << (bit % 64));
            search.by_pair.entry(*pair).or_default().push(index);
        }
        search
    }

    /// The first pattern of the table that a name contains.
    fn first(&self, name: &str) -> Option<usize> {
        let mut found = None;
        let name = name.as_bytes();
        for (at, pair) in name.windows(2).enumerate() {
            let &[first, second] = pair else { continue };
            let pair = [first, second];
            let bit = usize::from(u16::from_le_bytes(pair));
            if self.begins.get(bit / 64).is_none_or(|word| word >> (bit % 64) & 1 == 0) {
                continue;
            }
            let here = name.get(at..).unwrap_or_default();
            let is_here = |index: &&usize| {
                self.table.get(**index).is_some_and(|culprit| here.starts_with(culprit.pattern.as_bytes()))
            };
            // In the order of the table.
            let earliest = self.by_pair.get(&pair).and_then(|all| all.iter().find(is_here)).copied();
            found = found.into_iter().chain(earliest).min();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::location::Function;

    #[test]
    fn patterns_are_found_as_one_by_one() {
        let table: Vec<Culprit> = table().collect();
        let search = Search::of(&table);
        assert!(table.iter().all(|culprit| culprit.pattern.len() >= 2));
        let seen = SEEN.iter().flat_map(|(names, _)| names.iter().copied());
        let patterns = table.iter().map(|culprit| culprit.pattern);
        let pairs =
            patterns.clone().flat_map(|a| ["", "x", "é"].map(|between| format!("{a}{between}{}", table[3].pattern)));
        for name in seen.map(str::to_owned).chain(patterns.clone().map(str::to_owned)).chain(pairs) {
            let one_by_one = table.iter().position(|culprit| name.contains(culprit.pattern));
            assert_eq!(search.first(&name), one_by_one, "{name}");
        }
        assert_eq!((search.first(""), search.first("x"), search.first("nothing of it")), (None, None, None));
    }

    #[test]
    fn every_line_of_the_table_is_whole() {
        assert_eq!(table().count(), lines().count());
        assert!(table().all(|culprit| ![culprit.pattern, culprit.title, culprit.advice].contains(&"")));
    }

    #[test]
    fn no_line_of_the_table_hides_a_later_one() {
        let all: Vec<Culprit> = table().collect();
        for (index, culprit) in all.iter().enumerate() {
            let hidden = all.iter().skip(index + 1).find(|later| later.pattern.contains(culprit.pattern));
            assert_eq!(hidden, None, "{} is met before it", culprit.pattern);
        }
    }

    /// Frames as they stand in real profiles, the allocation first, and what is to be recognised.
    const SEEN: &[(&[&str], &str)] = &[
        (&["mmap", "[Java heap]"], "Java heap"),
        (&["mmap", "[metaspace]"], "metaspace"),
        (&["mmap", "[GC structures]"], "GC structures"),
        (&["mmap", "[code cache]"], "code cache"),
        (&["mmap", "[JVM, other]"], "the JVM's own"),
        (&["pthread_create", "[threads of the JVM]"], "the JVM's own threads"),
        (
            &["deflateInit2_", "Java_java_util_zip_Deflater_init", "java.util.zip.GZIPOutputStream.<init>"],
            "GZIP stream",
        ),
        (&["inflateInit2_", "Java_java_util_zip_Inflater_init", "java.util.zip.ZipFile.getInflater"], "ZIP file"),
        (&["deflateInit2_", "Java_java_util_zip_Deflater_init", "java.util.zip.Deflater.init"], "Deflater"),
        (&["inflateInit2_", "Java_java_util_zip_Inflater_init", "java.util.zip.Inflater.init"], "Inflater"),
        (&["deflateInit2_", "compress_block", "main"], "zlib deflate state"),
        (&["inflateInit2_", "read_block", "main"], "zlib inflate state"),
        (&["inflate", "Java_java_util_zip_Inflater_inflateBytesBytes", "JavaThread::thread_main_inner"], "Inflater"),
        (
            &[
                "Unsafe_AllocateMemory0",
                "java.nio.DirectByteBuffer.<init>",
                "io.netty.buffer.PoolArena$DirectArena.newChunk",
            ],
            "Netty pool",
        ),
        (&["Unsafe_AllocateMemory0", "io.netty.buffer.PoolChunk.<init>"], "Netty pool"),
        (&["Unsafe_AllocateMemory0", "io.netty.buffer.PoolThreadCache.<init>"], "Netty thread cache"),
        (&["Unsafe_AllocateMemory0", "io.netty.buffer.AdaptivePoolingAllocator.newChunk"], "Netty adaptive pool"),
        (&["Unsafe_AllocateMemory0", "io.netty.buffer.UnpooledDirectByteBuf.allocateDirect"], "Netty buffer"),
        (&["CRYPTO_malloc", "SSL_new", "io.netty.internal.tcnative.SSL.newSSL"], "TLS by netty-tcnative"),
        (
            &["Unsafe_AllocateMemory0", "java.nio.DirectByteBuffer.<init>", "sun.nio.ch.Util.getTemporaryDirectBuffer"],
            "NIO temporary buffer",
        ),
        (&["java.nio.DirectByteBuffer.<init>", "sun.nio.ch.IOUtil.write"], "NIO temporary buffer"),
        (
            &["Unsafe_AllocateMemory0", "jdk.internal.misc.Unsafe.allocateMemory", "java.nio.DirectByteBuffer.<init>"],
            "direct buffer",
        ),
        (&["java.nio.Bits.reserveMemory"], "direct buffer"),
        (
            &["Unsafe_AllocateMemory0", "jdk.internal.foreign.NativeMemorySegmentImpl.makeNativeSegment"],
            "foreign memory",
        ),
        (
            &["Unsafe_AllocateMemory0", "jdk.internal.misc.Unsafe.allocateMemory", "com.shop.OffHeap.grow"],
            "direct buffer or Unsafe memory",
        ),
        (
            &["LZ4_createStreamHC", "Java_net_jpountz_lz4_LZ4JNI", "net.jpountz.lz4.LZ4JNICompressor.compress"],
            "lz4-java",
        ),
        (&["operator new", "org.xerial.snappy.SnappyNative.rawCompress"], "snappy-java"),
        (&["ZSTD_createDCtx", "com.github.luben.zstd.ZstdInputStreamNoFinalizer.<init>"], "zstd-jni"),
        (&["ZSTD_createDCtx_internal", "consume"], "zstd context"),
        (&["ZSTD_createDStream", "consume"], "zstd context"),
        (&["ZSTD_createCCtx", "produce"], "zstd context"),
        (&["ZSTD_createCStream", "produce"], "zstd context"),
        (&["LZ4F_createDecompressionContext", "read"], "lz4 frame context"),
        (&["LZ4_createStream", "write"], "lz4 stream"),
        (&["snappy::internal::WorkingMemory::WorkingMemory", "snappy::Compress"], "snappy"),
        (&["BrotliDecoderCreateInstance", "open"], "brotli decoder"),
        (&["BrotliEncoderCreateInstance", "open"], "brotli encoder"),
        (&["lzma_stream_decoder", "open"], "xz"),
        (&["rocksdb::LRUCacheShard::Insert", "rocksdb::BlockBasedTable::Get"], "RocksDB block cache"),
        (&["rocksdb::BlockCacheTier::Insert"], "RocksDB block cache"),
        (
            &["rocksdb::lru_cache::LRUCache::LRUCache", "org.rocksdb.ColumnFamilyOptions.newColumnFamilyOptions"],
            "RocksDB options",
        ),
        (&["rocksdb::BlockBasedTableFactory::X", "org.rocksdb.Options.newOptions"], "RocksDB options"),
        (&["rocksdb::LRUCache::X", "org.rocksdb.ColumnFamilyHandle.getDescriptor"], "RocksDB descriptor"),
        (&["rocksdb::Arena::AllocateNewBlock", "rocksdb::MemTable::Add"], "RocksDB memtable"),
        (
            &["rocksdb::Arena::AllocateNewBlock", "rocksdb::ArenaWrappedDBIter::Init", "rocksdb::DBImpl::NewIterator"],
            "RocksDB iterator",
        ),
        (&["rocksdb::Arena::AllocateFallback", "rocksdb::NewArenaWrappedDbIterator"], "RocksDB iterator"),
        (&["rocksdb::Arena::AllocateNewBlock", "rocksdb::ConcurrentArena::AllocateAligned"], "RocksDB memtable"),
        (&["rocksdb::Arena::AllocateNewBlock", "rocksdb::BlobFileBuilder::Add"], "RocksDB arena"),
        (&["Arena::grow", "com.shop.Catalog.unpack", "[compiling]"], "JIT compiler"),
        (&["PtrQueueSet::allocate_buffer", "G1DirtyCardQueueSet::enqueue"], "G1 queues"),
        (&["BufferNode::allocate", "BufferNode::Allocator::allocate"], "G1 queues"),
        (&["ObjectSynchronizer::inflate", "ObjectSynchronizer::enter"], "JVM monitors"),
        (&["ObjectMonitor::operator new", "ObjectMonitor::create"], "JVM monitors"),
        (&["rocksdb::DBIter::DBIter", "Java_org_rocksdb_RocksDB_iterator"], "RocksDB"),
        (&["operator new", "org.rocksdb.ReadOptions.newReadOptions"], "RocksDB from Java"),
        (&["faiss::IndexHNSW::add", "main"], "faiss index"),
        (&["similarity::Hnsw::CreateIndex", "main"], "nmslib index"),
        (&["com.sun.jna.Native.malloc", "com.sun.jna.Memory.<init>"], "JNA memory"),
        (&["sqlite3MemMalloc", "open"], "SQLite"),
        (&["PhaseChaitin::Register_Allocate", "Compile::Compile", "C2Compiler::compile_method"], "JIT compiler"),
        (&["GraphBuilder::GraphBuilder", "Compiler::compile_method"], "JIT compiler"),
        (&["Compilation::Compilation", "C1_Compiler::compile_method"], "JIT compiler"),
        (&["Node::out_grow", "CompileBroker::compiler_thread_loop"], "JIT compiler"),
        (&["JVMCIRuntime::initialize"], "JIT compiler (JVMCI)"),
        (&["ClassFileParser::parse_methods", "SystemDictionary::resolve_class_from_stream"], "class metadata"),
        (&["ClassLoaderData::ClassLoaderData"], "class metadata"),
        (&["Metaspace::allocate"], "class metadata"),
        (&["SymbolTable::do_add_if_needed"], "JVM symbols"),
        (&["StringTable::do_intern"], "interned strings"),
        (&["ThreadLocalStorage::thread"], "thread state"),
        (&["JavaThread::JavaThread", "JVM_StartThread"], "thread state"),
        (&["OtherRegionsTable::add_reference"], "G1 remembered sets"),
        (&["G1CardSet::allocate_mem_object"], "G1 remembered sets"),
        (&["JNIHandleBlock::allocate_block"], "JNI handles"),
        (&["JvmtiEnv::Allocate"], "JVMTI agent"),
        (&["JvmtiExport::post_class_file_load_hook"], "JVMTI agent"),
        (&["NMTUtil::init"], "native memory tracking"),
        (&["SSL_CTX_new", "accept"], "TLS context"),
        (&["SSL_new", "accept"], "TLS session"),
        (&["getaddrinfo", "connect_to"], "name resolution"),
        (&["_dl_open_worker", "dlopen", "load_plugin"], "loaded library"),
    ];

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn each_known_cause_is_recognised() {
        let mut used = std::collections::BTreeSet::new();
        for (names, title) in SEEN {
            let functions: Vec<Function> =
                names.iter().map(|name| Function { name: (*name).into(), ..Function::default() }).collect();
            let count = functions.len() as u32;
            let culprits = Culprits::of(&Profile { functions, ..Profile::default() });
            let found = culprits.recognise((0..count).map(FunctionId)).unwrap_or_else(|| panic!("{names:?}"));
            assert_eq!(found.title, *title, "{names:?}");
            used.insert(found.pattern);
        }
        let untested: Vec<_> = table().filter(|culprit| !used.contains(culprit.pattern)).collect();
        assert!(untested.is_empty(), "no example for {untested:#?}");
    }

    #[test]
    fn an_unclosed_stream_is_recognised() {
        let names = ["main", "inflateInit2_", "Java_java_util_zip_Inflater_init", "java.util.zip.Inflater.init"];
        let functions = names.map(|name| Function { name: name.into(), ..Function::default() }).to_vec();
        let culprits = Culprits::of(&Profile { functions, ..Profile::default() });
        assert_eq!(culprits.recognise((0..4).map(FunctionId)).unwrap().title, "Inflater");
        assert_eq!(culprits.recognise([FunctionId(0)].into_iter()), None);
    }
}
