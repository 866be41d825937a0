#!/usr/bin/env python3
"""Makes the seeds of eh_frame, vmstructs and perf_map from this machine's libc and by hand: small inputs that parse
whole. With a build of heaptap, also those that follow its formats: region, mirror, heap_v2, sidecar, pack.

    tests/fuzz/seeds.py [FOLDER]    FOLDER: of libheaptap.so and heaptap; needs a JDK
"""

import gzip
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SEEDS = HERE / "seeds"


def save(target: str, name: str, data: bytes) -> None:
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


# Unwind tables: a few functions of libc, packed close together.


def sections(elf: bytes) -> dict[str, tuple[int, bytes]]:
    """Address and bytes of each section."""
    table, = struct.unpack_from("<Q", elf, 40)
    size, count, names = struct.unpack_from("<HHH", elf, 58)
    rows = [struct.unpack_from("<IIQQQQ", elf, table + size * n) for n in range(count)]
    texts = rows[names][4]
    found = {}
    for name, _, _, address, offset, length in rows:
        text = elf[texts + name : elf.index(b"\0", texts + name)].decode()
        found[text] = (address, elf[offset : offset + length])
    return found


def entries(start: int, data: bytes):
    """Each frame description entry: the body of its common entry, its own body behind the pointer, function, length."""
    common, at = {}, 0
    while at + 4 < len(data):
        length, = struct.unpack_from("<I", data, at)
        if length == 0:
            return
        body = data[at + 4 : at + 4 + length]
        back, = struct.unpack_from("<I", body)
        if back == 0:
            common[at] = body
        else:
            begin, span = struct.unpack_from("<iI", body, 4)
            yield common[at + 4 - back], body, start + at + 8 + begin, span
        at += 4 + length


def tables(chosen) -> bytes:
    """`.eh_frame_hdr` and `.eh_frame` of these entries; the functions begin at 4096, 1024 bytes apart."""
    header_bytes = 12 + 8 * len(chosen)
    frame, pairs, commons = b"", [], {}
    for number, (common, body, _, span) in enumerate(chosen):
        if common not in commons:
            commons[common] = len(frame)
            frame += struct.pack("<I", len(common)) + common
        at = len(frame)
        function = 4096 + 1024 * number
        place = header_bytes + at
        frame += struct.pack("<IIiI", len(body), at + 4 - commons[common], function - (place + 8), span) + body[12:]
        pairs.append((function, place))
    header = struct.pack("<BBBBiI", 1, 0x1B, 0x03, 0x3B, header_bytes - 4, len(pairs))
    return header + b"".join(struct.pack("<ii", *pair) for pair in pairs) + frame + bytes(4)


def eh_frame() -> None:
    for library in ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6"]:
        if pathlib.Path(library).exists():
            break
    found = sections(pathlib.Path(library).read_bytes())
    everything = list(entries(*found[".eh_frame"]))
    # Rules by expressions (signal frames, the table of imports), and the longest of several kinds of program.
    by_kind = {}
    for entry in everything:
        common, body, _, span = entry
        kind = (common, body[12:13], frozenset(body[13:]) & {0x0A, 0x0B, 0x0F, 0x10, 0x16, 0x2E, 0x0D})
        if len(body) < 200 and span < 1024 and len(by_kind.get(kind, entry)[1]) <= len(body):
            by_kind[kind] = entry
    chosen = sorted(by_kind.values(), key=lambda entry: len(entry[1]))[-24:]
    for name, some in [("common", chosen[:8]), ("middle", chosen[8:16]), ("rare", chosen[16:])]:
        table = tables(some)
        for number, (_, _, _, span) in enumerate(some):
            pc = 4096 + 1024 * number + span * 2 // 3
            save("eh_frame", f"{name}-{number}", struct.pack("<HH", pc, 0) + table)


# A machine: its tables, one code heap with two blobs, two methods.

BASE = 0x20_0000_0000

SHARED = """
CodeHeap _memory 8; CodeHeap _segmap 64; CodeHeap _log2_segment_size 120; VirtualSpace _low 16; VirtualSpace _high 24
VirtualSpace _low_boundary 0; VirtualSpace _high_boundary 8
HeapBlock _header 0; HeapBlock::Header _length 0 uint32_t; HeapBlock::Header _used 8
GrowableArrayBase _len 0; GrowableArray<int> _data 8
CodeBlob _name 8; CodeBlob _frame_size 16
Method _constMethod 8; Method _access_flags 16
ConstMethod _constants 8; ConstMethod _constMethod_size 16; ConstMethod _flags 20; ConstMethod _code_size 22
ConstMethod _name_index 24
ConstantPool _length 8; ConstantPool _pool_holder 16; Klass _name 8
Symbol _length 4; Symbol _body 6; Symbol _hash_and_refcount 0
nmethod _compile_id 44; nmethod _orig_pc_offset 48; PcDesc _pc_offset 0; PcDesc _scope_decode_offset 4
nmethod _scopes_pcs_offset 56
"""
# How the releases tell where an nmethod's parts lie.
RELEASES = {
    "jdk17": "CodeBlob _code_begin 24; CodeBlob _data_offset 20; CompiledMethod _method 32;"
    "CompiledMethod _scopes_data_begin 72; nmethod _dependencies_offset 60; nmethod _metadata_offset 64;"
    "CompiledMethod _deopt_handler_begin 80",
    "jdk23": "CodeBlob _code_offset 24; CodeBlob _data_offset 20; nmethod _method 32; nmethod _immutable_data 72;"
    "nmethod _immutable_data_size 80; nmethod _scopes_data_offset 60; nmethod _metadata_offset 64 u2;"
    "nmethod _deopt_handler_offset 52",
    "jdk25": "CodeBlob _code_offset 24; CodeBlob _mutable_data 88; CodeBlob _mutable_data_size 84;"
    "CodeBlob _relocation_size 20; nmethod _method 32; nmethod _immutable_data 72; nmethod _immutable_data_size 80;"
    "nmethod _scopes_data_offset 60; nmethod _deopt_handler_entry_offset 52",
}
SIZES = {"HeapBlock": 16, "Method": 24, "ConstMethod": 32, "ConstantPool": 24, "PcDesc": 8}


class Machine:
    """Bytes at BASE."""

    def __init__(self) -> None:
        self.bytes = bytearray(128)
        self.texts: dict[str, int] = {}

    def room(self, count: int, align: int = 8) -> int:
        self.bytes += bytes(-len(self.bytes) % align)
        place = len(self.bytes)
        self.bytes += bytes(count)
        return BASE + place

    def put(self, form: str, address: int, *values: int) -> None:
        struct.pack_into("<" + form, self.bytes, address - BASE, *values)

    def text(self, text: str) -> int:
        if text not in self.texts:
            self.texts[text] = self.room(len(text) + 1, 1)
            self.bytes[-len(text) - 1 : -1] = text.encode()
        return self.texts[text]

    def symbol(self, text: str) -> int:
        place = self.room(6 + len(text))
        self.put("IH", place, 0xABCD0001, len(text))
        self.bytes[place + 6 - BASE : place + 6 + len(text) - BASE] = text.encode()
        return place


def method(machine: Machine, class_name: str, name: str) -> int:
    klass, pool = machine.room(16), machine.room(24 + 16)
    machine.put("Q", klass + 8, machine.symbol(class_name))
    machine.put("iiQ", pool + 8, 2, 0, klass)
    machine.put("Q", pool + 32, machine.symbol(name))
    const = machine.room(32 + 16)
    # Six bytes of code, then lines: small steps, and one that is written out.
    machine.put("QiHHH", const + 8, pool, 6, 1 << 1 | 1, 6, 1)
    lines = bytes([0x0C, 0x15, 0xFF, 1, 3, 0])
    machine.bytes[const + 38 - BASE : const + 38 + len(lines) - BASE] = lines
    place = machine.room(64, 64)
    machine.put("QH", place + 8, const, 1)
    return place


def machine(release: str, lowest: int) -> bytes:
    made = Machine()
    methods = [method(made, "org/example/Outer$$Lambda+0x123", "run"), method(made, "java/lang/Thread", "run0")]
    low = made.room(1024, 1024)
    heap, segments, array, heaps = made.room(128), made.room(16), made.room(16), made.room(8)
    side, metadata = made.room(64), made.room(24)
    statics = made.room(24)
    made.put("QQQ", statics, array, low, low + 1024)
    made.put("iiQ", array, 1, 0, heaps)
    made.put("Q", heaps, heap)
    made.put("QQ", heap + 24, low, low + 1024)
    made.put("Q", heap + 80, segments)
    made.put("i", heap + 120, 6)
    made.bytes[segments - BASE : segments - BASE + 16] = bytes([0, *range(1, 9), 0, 1, 2, 255, 255, 255, 255])
    inside = release == "jdk17"
    for start, length, name in [(low, 9, "nmethod"), (low + 9 * 64, 3, "StubRoutines (1)")]:
        blob = start + 16
        made.put("I", start, length)
        made.put("B", start + 8, 1)
        made.put("QiI", blob + 8, made.text(name), 4, 320 if release != "jdk25" else 8)
        made.put("Q", blob + 24, blob + 128 if inside else 128)
        made.put("Q", blob + 32, methods[0])
        # compile id, slot of the real pc, deoptimisation handler, debug records, their end or the scopes, metadata
        made.put("iiiiiH", blob + 44, 77, 8, 300, 256 if inside else 0, 280 if inside else 24, 320 if inside else 0)
        made.put("QiiQ", blob + 72, blob + 288 if inside else side, 40, 24, metadata)
        if inside:
            made.put("Q", blob + 80, blob + 300)
    records = low + 16 + 256 if inside else side
    stream = low + 16 + 288 if inside else side + 24
    made.put("iIiIiI", records, -1, 0, 5, 4, 40, 1)
    # Two scopes, outer and inner: how far back its caller's begins, its method, its bytecode index and one.
    numbers = [lowest + number for number in [0, 1, 3, 1, 2, 8]]
    made.bytes[stream - BASE : stream - BASE + 8] = bytes([0, *numbers, 0])
    for place in [low + 16 + 320, metadata, metadata + 8]:
        made.put("Q", place, methods[0])
    made.put("QQ", low + 16 + 320, *methods)
    made.put("Q", metadata + 16, methods[1])
    fields = [field.split() for field in f"{SHARED};{RELEASES[release]}".replace("\n", ";").split(";") if field.strip()]
    rows = [
        (made.text(kind), made.text(field), made.text(declared[0] if declared else "int"), 0, int(offset), 0)
        for kind, field, offset, *declared in fields
    ]
    for number, field in enumerate(["_heaps", "_low_bound", "_high_bound"]):
        rows.append((made.text("CodeCache"), made.text(field), made.text("address"), 1, 0, statics + 8 * number))
    types = [(made.text(name), size) for name, size in SIZES.items()]
    ints = [(made.text("ConstMethodFlags::_misc_has_linenumber_table"), 1)]
    ints.append((made.text("frame::entry_frame_call_wrapper_offset"), 2**64 - 6))
    tables = []
    for form, lines in [("6Q", rows), ("2Q", types), ("2Q", ints)]:
        size = struct.calcsize(form)
        table = made.room(size * (len(lines) + 1))
        for number, line in enumerate(lines):
            made.put(form, table + size * number, *line)
        tables.append(table)
    structs, kinds, constants = tables
    made.put("16Q", BASE, structs, 48, 0, 8, 16, 24, 32, 40, kinds, 16, 0, 8, constants, 16, 0, 8)
    made.room(0)
    # The target takes the lowest digit of numbers from the count of words.
    if len(made.bytes) // 8 % 2 != lowest:
        made.room(8)
    return bytes(made.bytes)


def vmstructs() -> None:
    save("vmstructs", "jdk17", machine("jdk17", 0))
    save("vmstructs", "jdk21", machine("jdk17", 1))
    save("vmstructs", "jdk23", machine("jdk23", 1))
    save("vmstructs", "jdk25", machine("jdk25", 1))


def perf_map() -> None:
    save(
        "perf_map",
        "hotspot",
        b"7f0000001000 100 void java.util.zip.Inflater.<init>(boolean)\n0x8000 0x80 StubRoutines (1)\n"
        b"7f0000001000 80 boolean java.lang.String.equals(java.lang.Object)\nnonsense\n9000 0 empty\n"
        b"ffffffffffffffff 10 too far\n",
    )
    save("perf_map", "node", b"7f0000001000 40 LazyCompile:~handle /srv/app/server.js:12\n0 10 Builtin:Abort\n")
    save("perf_map", "agent", b"30000000 1000 Ljava/lang/Thread;::run\n31000000 20 [vdso]\n")


def hprof() -> None:
    """A cache that holds a buffer through an array, as HotSpot writes it."""
    names = ["Buffer", "address", "Cache", "ALL", "[LBuffer;", "java/lang/ref/PhantomReference", "java/lang/Thread", "name"]
    out = b"JAVA PROFILE 1.0.2\0" + struct.pack(">IQ", 8, 7)
    for number, name in enumerate(names):
        body = struct.pack(">Q", 0x1000 + number) + name.encode()
        out += struct.pack(">BII", 1, 0, len(body)) + body
    classes = [(0x100, 0, [], [(1, 11)]), (0x108, 2, [(3, 2, 0x2000)], []), (0x110, 4, [], []), (0x118, 6, [], [(7, 2)])]
    heap = b""
    for identity, name, statics, fields in classes:
        body = struct.pack(">IQIQ", 1, identity, 0, 0x1000 + name)
        out += struct.pack(">BII", 2, 0, len(body)) + body
        heap += struct.pack(">BQI6QI", 0x20, identity, 0, *[0] * 6, 8) + struct.pack(">HH", 0, len(statics))
        for field, kind, value in statics:
            heap += struct.pack(">QBQ", 0x1000 + field, kind, value)
        heap += struct.pack(">H", len(fields)) + b"".join(struct.pack(">QB", 0x1000 + at, kind) for at, kind in fields)
    heap += struct.pack(">BQII Q QQ".replace(" ", ""), 0x22, 0x2000, 0, 2, 0x110, 0, 0x2008)
    heap += struct.pack(">BQIQIQ", 0x21, 0x2008, 0, 0x100, 8, 3 << 16)
    heap += struct.pack(">BQIQIQ", 0x21, 0x2010, 0, 0x118, 8, 0x2018)
    heap += struct.pack(">BQII", 0x08, 0x2010, 0, 0) + struct.pack(">BQ", 0x05, 0x108)
    heap += struct.pack(">BQIIB2Q", 0x23, 0x2020, 0, 2, 11, 5, 4 << 16) + struct.pack(">BQIIB4s", 0x23, 0x2018, 0, 4, 8, b"main")
    save("hprof", "cache", out + struct.pack(">BII", 0x1C, 0, len(heap)) + heap + struct.pack(">BII", 0x2C, 0, 0))


# What heaptap itself writes, from a small JVM.

PROGRAM = """
import java.util.ArrayList;
import java.util.List;
import java.util.zip.Deflater;

public class Small {
    static final List<Deflater> KEPT = new ArrayList<>();

    public static void main(String[] arguments) throws Exception {
        while (true) {
            Thread worker = new Thread(() -> KEPT.add(new Deflater()), "worker");
            worker.start();
            worker.join();
            new Deflater().end();
            Thread.sleep(20);
        }
    }
}
"""
# Word of a region's header: 0 a region, 1 a mirror (Head::Kind).
KIND = 11


def small_mirror(folder: pathlib.Path) -> pathlib.Path:
    """The mirror of a JVM that leaked for seven seconds, a megabyte a sample."""
    (folder / "Small.java").write_text(PROGRAM)
    subprocess.run(["javac", "Small.java"], cwd=folder, check=True)
    options = f"prof:true,prof_prefix:{folder}/small,lg_prof_sample:20,prof_bt_max:12,prof_region_bytes:1048576"
    options += ",prof_mirror_seconds:1,prof_min_seconds:0,prof_min_bytes:0"
    environment = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": str(folder / "libheaptap.so"), "MALLOC_CONF": options}
    java = shutil.which("java") or "java"
    command = [java, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx32m", "-cp", ".", "Small"]
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL) as process:
        time.sleep(7)
        process.send_signal(signal.SIGKILL)
    (mirror,) = folder.glob("*.live")
    return mirror


def formats(build: pathlib.Path) -> None:
    # Mappings and command lines stand in these files: the folder's name is a neutral one.
    folder = pathlib.Path("/tmp/heaptap-seeds")
    folder.mkdir()
    for name in ["libheaptap.so", "heaptap"]:
        shutil.copy(build / name, folder / name)
    try:
        mirror = small_mirror(folder).read_bytes()
        save("mirror", "java.live", mirror)
        save("region", "java.live", mirror[: 8 * KIND] + bytes(8) + mirror[8 * KIND + 8 :])
        subprocess.run([folder / "heaptap", "recover", folder], check=True, capture_output=True)
        (dump,) = folder.glob("*.heap")
        (names,) = folder.glob("*.java.so")
        save("heap_v2", "java.heap", dump.read_bytes())
        save("sidecar", "java.so", names.read_bytes())
        subprocess.run([folder / "heaptap", "pack", dump, "-o", folder / "a.pack"], check=True, capture_output=True)
        packed = (folder / "a.pack").read_bytes()
        save("pack", "plain", gzip.decompress(packed))
        save("pack", "gzip", packed)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    eh_frame()
    vmstructs()
    perf_map()
    hprof()
    if len(sys.argv) > 1:
        formats(pathlib.Path(sys.argv[1]))
