//! Register numbers of the DWARF rules, for both processors: rules of either are tested on any.

/// The DWARF numbers that call frame information of one architecture speaks of.
///
/// A value and not constants, so that the rules of both architectures are tested on either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tap::unwind) struct Cpu {
    /// Stack pointer.
    pub(in crate::tap::unwind) stack_pointer: u64,
    /// Frame pointer (by convention only; code may keep anything in it).
    pub(in crate::tap::unwind) frame_pointer: u64,
    /// The column in which tables describe the return address.
    pub(in crate::tap::unwind) return_address: u64,
    /// Whether a call leaves the return address in a register, so that "unchanged" is a rule for it.
    pub(in crate::tap::unwind) has_link_register: bool,
    /// Offsets from the stack pointer of a signal frame to the interrupted fp, sp and pc, where the
    /// kernel's own table describes only the frame record and would lose the interrupted pc.
    pub(in crate::tap::unwind) signal_frame: Option<[i64; 3]>,
}

/// System V AMD64: rsp 7, rbp 6, return address 16.
#[cfg_attr(not(any(target_arch = "x86_64", test)), expect(dead_code, reason = "rules of the other architecture"))]
pub(in crate::tap::unwind) const X86_64: Cpu =
    Cpu { stack_pointer: 7, frame_pointer: 6, return_address: 16, has_link_register: false, signal_frame: None };

/// AAPCS64: sp 31, x29, x30. `struct rt_sigframe` (kernel, arch/arm64): siginfo of 128 bytes, then a
/// ucontext whose sigcontext starts at 176 with the fault address, 31 registers, sp and pc.
#[cfg_attr(not(any(target_arch = "aarch64", test)), expect(dead_code, reason = "rules of the other architecture"))]
pub(in crate::tap::unwind) const AARCH64: Cpu = Cpu {
    stack_pointer: 31,
    frame_pointer: 29,
    return_address: 30,
    has_link_register: true,
    signal_frame: Some([128 + 176 + 8 + 29 * 8, 128 + 176 + 8 + 31 * 8, 128 + 176 + 8 + 32 * 8]),
};
