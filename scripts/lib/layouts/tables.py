"""The tables `gHotSpotVM*` of one running libjvm.so, and what of them the walker of Java frames asks for."""
from dataclasses import dataclass

from layouts.image import Image

#: Instance fields: where they are is the same for all builds of a release with the same options.
FIELDS = """
CodeBlob._name CodeBlob._frame_size CodeBlob._code_begin CodeBlob._code_offset CodeBlob._data_offset CodeBlob._relocation_size
CodeBlob._mutable_data CodeBlob._mutable_data_size
CodeHeap._memory CodeHeap._segmap CodeHeap._log2_segment_size VirtualSpace._low VirtualSpace._high
VirtualSpace._low_boundary VirtualSpace._high_boundary HeapBlock._header HeapBlock::Header._length HeapBlock::Header._used
GrowableArrayBase._len GenericGrowableArray._len GrowableArray<int>._data StubQueue._stub_buffer StubQueue._buffer_limit
nmethod._method nmethod._compile_id nmethod._scopes_data_begin nmethod._scopes_data_offset nmethod._scopes_pcs_offset
nmethod._dependencies_offset nmethod._immutable_data nmethod._immutable_data_size nmethod._metadata_offset nmethod._orig_pc_offset
nmethod._deopt_handler_offset nmethod._deopt_handler_entry_offset nmethod._deoptimize_offset nmethod._deopt_mh_handler_offset
nmethod._deoptimize_mh_offset CompiledMethod._method CompiledMethod._scopes_data_begin CompiledMethod._deopt_handler_begin
CompiledMethod._deopt_mh_handler_begin PcDesc._pc_offset PcDesc._scope_decode_offset
Method._constMethod Method._access_flags ConstMethod._constMethod_size ConstMethod._flags ConstMethod._flags._flags
ConstMethod._constants ConstMethod._code_size ConstMethod._name_index ConstantPool._length ConstantPool._pool_holder Klass._name
Symbol._length Symbol._body Symbol._body[0] Symbol._hash_and_refcount Symbol._identity_hash
JavaThread._osthread Thread._osthread OSThread._pthread_id JavaThread._anchor JavaCallWrapper._anchor
JavaFrameAnchor._last_Java_sp JavaFrameAnchor._last_Java_fp JavaFrameAnchor._last_Java_pc
CompilerThread._env ciEnv._task CompileTask._method
""".split()

#: Static fields: their addresses are each build's own.
STATICS = """
CodeCache._heap CodeCache._heaps CodeCache._low_bound CodeCache._high_bound AbstractInterpreter._code
StubRoutines._call_stub_return_address Abstract_VM_Version._vm_major_version
""".split()

#: Fields whose declared type matters.
TYPED = {"HeapBlock::Header._length", "nmethod._metadata_offset"}
SIZES = "HeapBlock Method ConstMethod ConstantPool PcDesc".split()
INTS = """
frame::entry_frame_call_wrapper_offset ConstMethod::_has_linenumber_table ConstMethodFlags::_misc_has_linenumber_table
""".split()


@dataclass(frozen=True)
class Layout:
    """One build: what is its own, and what it has in common with others."""
    build_id: str
    machine: str
    statics: tuple[str, ...]
    fields: tuple[str, ...]


class Tables:
    """Records of the exported tables, read by the strides and offsets that are exported beside them."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.symbols = image.symbols("gHotSpotVM")
        if "gHotSpotVMStructs" not in self.symbols:
            raise ValueError("it exports no tables")

    def value(self, name: str) -> int:
        """Of an exported variable."""
        return self.image.word(self.symbols[name])

    def records(self, table: str, entry: str, name: str) -> list[int]:
        """Addresses of the records up to the first without a name."""
        first, stride = self.value(f"gHotSpotVM{table}"), self.value(f"gHotSpotVM{entry}EntryArrayStride")
        offset = self.value(f"gHotSpotVM{entry}Entry{name}Offset")
        if not stride:
            raise ValueError("its tables are not filled in")
        found = []
        while self.image.word(first + offset):
            found.append(first)
            first += stride
        return found


def read(image: Image) -> Layout:
    """Everything that the walker asks for and this build has."""
    tables = Tables(image)
    at = {name: tables.value(f"gHotSpotVM{name}Offset") for name in (
        "StructEntryTypeName", "StructEntryFieldName", "StructEntryTypeString", "StructEntryIsStatic", "StructEntryOffset",
        "StructEntryAddress", "TypeEntryTypeName", "TypeEntrySize", "IntConstantEntryName", "IntConstantEntryValue")}
    fields, statics = {}, {}
    for record in tables.records("Structs", "Struct", "TypeName"):
        name = f"{image.text(record + at['StructEntryTypeName'])}.{image.text(record + at['StructEntryFieldName'])}"
        if image.int(record + at["StructEntryIsStatic"]):
            statics[name] = image.word(record + at["StructEntryAddress"])
        else:
            declared = f" {image.text(record + at['StructEntryTypeString'])}" if name in TYPED else ""
            fields[name] = f"{image.word(record + at['StructEntryOffset'])}{declared}"
    sizes = {image.text(record + at["TypeEntryTypeName"]): image.word(record + at["TypeEntrySize"])
             for record in tables.records("Types", "Type", "TypeName")}
    ints = {image.text(record + at["IntConstantEntryName"]): image.int(record + at["IntConstantEntryValue"])
            for record in tables.records("IntConstants", "IntConstant", "Name")}
    common = [f"{name} {fields[name]}" for name in FIELDS if name in fields]
    common += [f"sizeof {name} {sizes[name]}" for name in SIZES if name in sizes]
    common += [f"int {name} {ints[name]}" for name in INTS if name in ints]
    own = [f"{name} @{statics[name] - image.bias:x}" for name in STATICS if statics.get(name)]
    return Layout(image.build_id(), image.machine, tuple(own), tuple(common))

