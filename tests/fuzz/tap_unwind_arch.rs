//! The processor whose tables these are.

#[path = "../../src/tap/unwind/arch/cpu.rs"]
pub(super) mod cpu;

pub(super) const CPU: cpu::Cpu = cpu::X86_64;
