//! DWARF expressions in unwind tables, evaluated as far as a rule can express them.
//!
//! A value is a known number, or a register (or the CFA) plus an offset, or a word loaded from there
//! plus an offset. The pc is a known number here, which is what turns the expression of PLT stubs
//! into a plain "sp + 8" or "sp + 16". Anything else yields `None`. No allocation, no memory is read.

use super::arch::cpu::Cpu;
use super::reader::Reader;

/// Values that an expression may hold at once; tables in the wild need three.
const DEPTH: usize = 8;

/// The base that a value is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Stack pointer.
    Stack,
    /// Frame pointer.
    Frame,
    /// The canonical frame address (register rules only).
    Cfa,
}

/// A value as far as it is known when the table is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A number.
    Number(i64),
    /// Origin plus offset.
    Plus(Origin, i64),
    /// The word at origin plus offset, plus a second offset.
    Loaded(Origin, i64, i64),
}

impl Value {
    fn add(self, more: i64) -> Value {
        match self {
            Value::Number(number) => Value::Number(number.wrapping_add(more)),
            Value::Plus(origin, offset) => Value::Plus(origin, offset.wrapping_add(more)),
            Value::Loaded(origin, offset, add) => Value::Loaded(origin, offset, add.wrapping_add(more)),
        }
    }
}

struct Stack {
    values: [Value; DEPTH],
    depth: usize,
}

impl Stack {
    fn push(&mut self, value: Value) -> Option<()> {
        *self.values.get_mut(self.depth)? = value;
        self.depth += 1;
        Some(())
    }

    fn pop(&mut self) -> Option<Value> {
        self.depth = self.depth.checked_sub(1)?;
        self.values.get(self.depth).copied()
    }
}

/// The value of `code` for a frame stopped at `pc`; `start` is what the stack holds at first.
pub(super) fn evaluate(mut code: Reader<'_>, start: Option<Value>, pc: usize, cpu: &Cpu) -> Option<Value> {
    let mut stack = Stack { values: [Value::Number(0); DEPTH], depth: 0 };
    if let Some(value) = start {
        stack.push(value)?;
    }
    while !code.is_empty() {
        operation(&mut code, &mut stack, pc, cpu)?;
    }
    stack.pop()
}

/// Opcode numbers: DWARF 4, figure 24.
fn operation(code: &mut Reader<'_>, stack: &mut Stack, pc: usize, cpu: &Cpu) -> Option<()> {
    let opcode = code.u8()?;
    if let Some(constant) = constant(opcode, code) {
        return stack.push(Value::Number(constant));
    }
    match opcode {
        0x06 => match stack.pop()? {
            Value::Plus(origin, offset) => stack.push(Value::Loaded(origin, offset, 0)),
            _ => None,
        },
        0x23 => {
            let more = code.uleb()? as i64;
            let value = stack.pop()?;
            stack.push(value.add(more))
        }
        0x1a..=0x2d => binary(opcode, stack),
        0x70..=0x8f => {
            let offset = code.sleb()?;
            register(u64::from(opcode - 0x70), pc, cpu).and_then(|value| stack.push(value.add(offset)))
        }
        0x92 => {
            let (number, offset) = (code.uleb()?, code.sleb()?);
            register(number, pc, cpu).and_then(|value| stack.push(value.add(offset)))
        }
        0x96 => Some(()),
        _ => None,
    }
}

/// `DW_OP_lit*` and `DW_OP_const*`.
fn constant(opcode: u8, code: &mut Reader<'_>) -> Option<i64> {
    Some(match opcode {
        0x08 => i64::from(code.u8()?),
        0x09 => i64::from(code.u8()? as i8),
        0x0a => i64::from(code.u16()?),
        0x0b => i64::from(code.u16()? as i16),
        0x0c => i64::from(code.u32()?),
        0x0d => i64::from(code.u32()? as i32),
        0x0e | 0x0f => code.u64()? as i64,
        0x10 => code.uleb()? as i64,
        0x11 => code.sleb()?,
        0x30..=0x4f => i64::from(opcode - 0x30),
        _ => return None,
    })
}

fn register(number: u64, pc: usize, cpu: &Cpu) -> Option<Value> {
    if number == cpu.stack_pointer {
        Some(Value::Plus(Origin::Stack, 0))
    } else if number == cpu.frame_pointer {
        Some(Value::Plus(Origin::Frame, 0))
    } else if number == cpu.return_address && !cpu.has_link_register {
        Some(Value::Number(pc as i64))
    } else {
        None
    }
}

/// Operations on the two topmost values; only addition and subtraction work on unknown ones.
fn binary(opcode: u8, stack: &mut Stack) -> Option<()> {
    let (right, left) = (stack.pop()?, stack.pop()?);
    let result = match (opcode, left, right) {
        (0x22, value, Value::Number(more)) | (0x22, Value::Number(more), value) => value.add(more),
        (0x1c, value, Value::Number(less)) => value.add(less.wrapping_neg()),
        (_, Value::Number(left), Value::Number(right)) => Value::Number(arithmetic(opcode, left, right)?),
        _ => return None,
    };
    stack.push(result)
}

fn arithmetic(opcode: u8, left: i64, right: i64) -> Option<i64> {
    let shift = u32::try_from(right).ok();
    Some(match opcode {
        0x1a => left & right,
        0x1e => left.wrapping_mul(right),
        0x21 => left | right,
        0x24 => left.checked_shl(shift?)?,
        0x25 => (left as u64).checked_shr(shift?)? as i64,
        0x26 => left.checked_shr(shift?)?,
        0x27 => left ^ right,
        0x29 => i64::from(left == right),
        0x2a => i64::from(left >= right),
        0x2b => i64::from(left > right),
        0x2c => i64::from(left <= right),
        0x2d => i64::from(left < right),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::unwind::arch::cpu::X86_64;
    use crate::tap::unwind::reader::Segment;

    fn value(code: &[u8], pc: usize) -> Option<Value> {
        evaluate(Segment { bytes: code, address: 0 }.reader_at(0)?, None, pc, &X86_64)
    }

    #[test]
    fn a_plt_stub_has_pushed_one_word_or_two() {
        // breg7 8, breg16 0, lit15, and, lit11, ge, lit3, shl, plus: what linkers write for .plt.
        let code = [0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];
        assert_eq!(value(&code, 0x4006), Some(Value::Plus(Origin::Stack, 8)));
        assert_eq!(value(&code, 0x400b), Some(Value::Plus(Origin::Stack, 16)));
    }

    #[test]
    fn loads_keep_what_is_added_before_and_after() {
        assert_eq!(value(&[0x76, 0x78, 0x06], 0), Some(Value::Loaded(Origin::Frame, -8, 0)));
        assert_eq!(value(&[0x77, 0x28, 0x06, 0x23, 8], 0), Some(Value::Loaded(Origin::Stack, 40, 8)));
    }

    #[test]
    fn what_no_rule_can_express_is_refused() {
        let refused: [&[u8]; 6] = [
            &[],                       // nothing left on the stack
            &[0x70, 0],                // breg0: rax
            &[0x77, 0, 0x06, 0x06],    // a load from a loaded address
            &[0x77, 0, 0x77, 0, 0x22], // sp + sp
            &[0x31, 0x8f, 0, 0x24],    // breg31
            &[0x30; 9],                // deeper than the evaluation stack
        ];
        assert!(refused.iter().all(|code| value(code, 0).is_none()));
        assert_eq!(value(&[0x31, 0x08, 64, 0x24], 0), None, "a shift by 64");
    }
}
