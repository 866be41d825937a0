//! A door on aarch64: whose call it is.
//! It reads the link register and nothing else; all arguments stay where they are.

/// A door: the tap's own calls go to `$own`, all others to `$program`.
macro_rules! door {
    ($name:literal, $own:path, $program:path) => {
        std::arch::naked_asm!(
            concat!(".protected ", $name),
            "adrp x16, __ehdr_start",
            "add x16, x16, :lo12:__ehdr_start",
            "cmp x30, x16",
            "b.lo 2f",
            "adrp x16, etext",
            "add x16, x16, :lo12:etext",
            "cmp x30, x16",
            "b.lo 3f",
            "2:",
            "b {program}",
            "3:",
            "b {own}",
            own = sym $own,
            program = sym $program,
        )
    };
}
pub(super) use door;
