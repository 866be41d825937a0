//! A door on x86-64: whose call it is.
//! It reads the return address on the stack and nothing else; all arguments stay where they are.

/// A door: the tap's own calls go to `$own`, all others to `$program`.
macro_rules! door {
    ($name:literal, $own:path, $program:path) => {
        std::arch::naked_asm!(
            concat!(".protected ", $name),
            "mov r11, qword ptr [rsp]",
            "lea rax, [rip + __ehdr_start]",
            "cmp r11, rax",
            "jb {program}",
            "lea rax, [rip + etext]",
            "cmp r11, rax",
            "jb {own}",
            "jmp {program}",
            own = sym $own,
            program = sym $program,
        )
    };
}
pub(super) use door;
