//! Call frame programs: the byte code that says, location by location, where a frame's registers are.
//!
//! Runs one program up to the wanted pc and turns the row that holds there into a rule. Opcode
//! numbers are those of DWARF 4, figure 40, and of LSB Core, chapter 10.5.2. Registers other than the
//! three that a walk follows are skipped. About 500 bytes of stack for remembered rows; no allocation.

use super::arch::cpu::Cpu;
use super::expression::{self, Origin, Value};
use super::reader::Reader;
use super::refusal::Refusal;
use super::rule::{Base, Cfa, Parts, Rule, Saved};

/// Nested `remember_state` that are kept; compilers nest two.
const REMEMBERED: usize = 8;

/// The inputs of a program besides its bytes.
pub(super) struct Context<'a> {
    /// Multiplies the deltas of locations.
    pub(super) code_alignment: u64,
    /// Multiplies the offsets of saved registers.
    pub(super) data_alignment: i64,
    /// How `set_loc` writes an address.
    pub(super) pointer_encoding: u8,
    /// The pc whose row is wanted.
    pub(super) pc: usize,
    /// Register numbers.
    pub(super) cpu: &'a Cpu,
}

/// Where a register of the caller is, while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// Nothing was said.
    Unsaid,
    Undefined,
    Same,
    /// In memory, there.
    At(Origin, i32),
    /// It is that address.
    Is(Origin, i32),
    /// Something that a rule cannot hold.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    Unsaid,
    Register(u16, i32),
    /// Known by an expression.
    Plus(Base, i32),
    Loaded(Base, i32, i32),
    Refused,
}

/// The rules that hold at one location.
#[derive(Clone, Copy)]
pub(super) struct Row {
    frame: Frame,
    stack_pointer: Column,
    frame_pointer: Column,
    return_address: Column,
}

impl Row {
    /// The row before any instruction.
    pub(super) fn new() -> Row {
        let unsaid = Column::Unsaid;
        Row { frame: Frame::Unsaid, stack_pointer: unsaid, frame_pointer: unsaid, return_address: unsaid }
    }

    /// The column of a register that a walk follows.
    fn column(&mut self, register: u64, cpu: &Cpu) -> Option<&mut Column> {
        if register == cpu.frame_pointer {
            Some(&mut self.frame_pointer)
        } else if register == cpu.return_address {
            Some(&mut self.return_address)
        } else if register == cpu.stack_pointer {
            Some(&mut self.stack_pointer)
        } else {
            None
        }
    }

    fn set(&mut self, register: u64, cpu: &Cpu, to: Column) {
        if let Some(column) = self.column(register, cpu) {
            *column = to;
        }
    }

    /// The rule that this row amounts to.
    pub(super) fn rule(&self, is_signal: bool, cpu: &Cpu) -> Result<Rule, Refusal> {
        if self.return_address == Column::Undefined {
            return Ok(Rule::ROOT);
        }
        if let (true, Some([fp, sp, pc])) = (is_signal, cpu.signal_frame) {
            let at = |offset| Saved::At(Base::Stack, offset);
            let cfa = Cfa::Loaded(Base::Stack, sp, 0);
            let parts = Parts { cfa, return_address: at(pc), frame_pointer: at(fp), is_signal };
            return Rule::pack(parts).ok_or(Refusal::TooWide);
        }
        let cfa = self.cfa(cpu)?;
        self.check_stack_pointer(cfa)?;
        let return_address = match self.return_address {
            Column::Unsaid | Column::Same if cpu.has_link_register => Saved::Unchanged,
            column => saved(column).ok_or(Refusal::ReturnAddress)?,
        };
        let frame_pointer = match self.frame_pointer {
            Column::Unsaid | Column::Same | Column::Undefined => Saved::Unchanged,
            column => saved(column).ok_or(Refusal::FramePointer)?,
        };
        Rule::pack(Parts { cfa, return_address, frame_pointer, is_signal }).ok_or(Refusal::TooWide)
    }

    fn cfa(&self, cpu: &Cpu) -> Result<Cfa, Refusal> {
        match self.frame {
            Frame::Register(number, offset) if u64::from(number) == cpu.stack_pointer => {
                Ok(Cfa::Plus(Base::Stack, i64::from(offset)))
            }
            Frame::Register(number, offset) if u64::from(number) == cpu.frame_pointer => {
                Ok(Cfa::Plus(Base::Frame, i64::from(offset)))
            }
            Frame::Plus(base, offset) => Ok(Cfa::Plus(base, i64::from(offset))),
            Frame::Loaded(base, offset, add) => Ok(Cfa::Loaded(base, i64::from(offset), i64::from(add))),
            Frame::Register(..) | Frame::Unsaid => Err(Refusal::CfaRegister),
            Frame::Refused => Err(Refusal::Expression),
        }
    }

    /// A walk takes the CFA for the caller's stack pointer: refuse a table that says otherwise.
    fn check_stack_pointer(&self, cfa: Cfa) -> Result<(), Refusal> {
        let agrees = match self.stack_pointer {
            Column::Unsaid | Column::Is(Origin::Cfa, 0) => true,
            Column::At(origin, offset) => {
                base(origin).is_some_and(|base| cfa == Cfa::Loaded(base, i64::from(offset), 0))
            }
            _ => false,
        };
        if agrees { Ok(()) } else { Err(Refusal::StackPointer) }
    }
}

fn base(origin: Origin) -> Option<Base> {
    match origin {
        Origin::Stack => Some(Base::Stack),
        Origin::Frame => Some(Base::Frame),
        Origin::Cfa => None,
    }
}

fn saved(column: Column) -> Option<Saved> {
    match column {
        Column::At(Origin::Cfa, offset) => Some(Saved::AtCfa(i64::from(offset))),
        Column::At(origin, offset) => base(origin).map(|base| Saved::At(base, i64::from(offset))),
        Column::Is(Origin::Cfa, offset) => Some(Saved::IsCfa(i64::from(offset))),
        _ => None,
    }
}

/// State of one run.
struct Machine<'a, 'r> {
    row: &'r mut Row,
    initial: Option<&'r Row>,
    context: &'r Context<'a>,
    location: usize,
    remembered: [Row; REMEMBERED],
    depth: usize,
}

/// Runs `program` from `location` until its location passes the wanted pc.
///
/// `initial` is the row to restore to; without it (the common program) locations are refused.
pub(super) fn run(
    mut program: Reader<'_>,
    location: usize,
    row: &mut Row,
    initial: Option<&Row>,
    context: &Context<'_>,
) -> Result<(), Refusal> {
    let mut machine = Machine { row, initial, context, location, remembered: [Row::new(); REMEMBERED], depth: 0 };
    while !program.is_empty() && machine.location <= context.pc {
        machine.instruction(&mut program)?;
    }
    Ok(())
}

impl Machine<'_, '_> {
    fn instruction(&mut self, program: &mut Reader<'_>) -> Result<(), Refusal> {
        let opcode = program.u8().ok_or(Refusal::Truncated)?;
        let low = u64::from(opcode & 0x3f);
        match opcode >> 6 {
            1 => self.advance(Some(low)),
            2 => {
                let offset = uleb(program)? as i64;
                self.saved_at(low, offset)
            }
            3 => self.restore(low),
            _ => self.extended(opcode, program),
        }
    }

    fn extended(&mut self, opcode: u8, program: &mut Reader<'_>) -> Result<(), Refusal> {
        match opcode {
            0x00 => Ok(()),
            0x01 => self.set_location(program.pointer(self.context.pointer_encoding, 0)),
            0x02 => self.advance(program.u8().map(u64::from)),
            0x03 => self.advance(program.u16().map(u64::from)),
            0x04 => self.advance(program.u32().map(u64::from)),
            0x0a => self.remember(),
            0x0b => self.recall(),
            0x0c..=0x0f | 0x12 | 0x13 => self.define_frame(opcode, program),
            0x05..=0x09 | 0x10 | 0x11 | 0x14..=0x16 | 0x2f => self.define_column(opcode, program),
            // aarch64: the return address is signed or no longer signed; a walk strips signatures.
            0x2c | 0x2d if self.context.cpu.has_link_register => Ok(()),
            0x2e => uleb(program).map(|_| ()),
            _ => Err(Refusal::Instruction),
        }
    }

    /// `DW_CFA_def_cfa*`: where the frame is.
    fn define_frame(&mut self, opcode: u8, program: &mut Reader<'_>) -> Result<(), Refusal> {
        let register = match opcode {
            0x0c | 0x0d | 0x12 => Some(u16::try_from(uleb(program)?).map_err(|_| Refusal::CfaRegister)?),
            _ => None,
        };
        let offset = match opcode {
            0x0c | 0x0e => Some(uleb(program)? as i64),
            0x12 | 0x13 => Some(sleb(program)?.wrapping_mul(self.context.data_alignment)),
            0x0f => return self.frame_expression(program),
            _ => None,
        };
        let offset = offset.map(i32::try_from).transpose().map_err(|_| Refusal::TooWide)?;
        self.row.frame = match (self.row.frame, register, offset) {
            (_, Some(register), Some(offset)) => Frame::Register(register, offset),
            (Frame::Register(_, offset), Some(register), None) => Frame::Register(register, offset),
            (Frame::Register(register, _), None, Some(offset)) => Frame::Register(register, offset),
            _ => return Err(Refusal::Instruction),
        };
        Ok(())
    }

    fn frame_expression(&mut self, program: &mut Reader<'_>) -> Result<(), Refusal> {
        self.row.frame = match self.expression(program, None)? {
            Some(Value::Plus(origin, offset)) => pack(origin, offset).map(|(base, offset)| Frame::Plus(base, offset)),
            Some(Value::Loaded(origin, offset, add)) => pack(origin, offset)
                .zip(i32::try_from(add).ok())
                .map(|((base, offset), add)| Frame::Loaded(base, offset, add)),
            _ => None,
        }
        .unwrap_or(Frame::Refused);
        Ok(())
    }

    /// Evaluates an expression; the inner `None` is one that we cannot follow.
    fn expression(&mut self, program: &mut Reader<'_>, start: Option<Value>) -> Result<Option<Value>, Refusal> {
        let length = uleb(program)?;
        let code = program.take(length as usize).ok_or(Refusal::Truncated)?;
        Ok(expression::evaluate(code, start, self.context.pc, self.context.cpu))
    }

    /// Everything that says where one register of the caller is.
    fn define_column(&mut self, opcode: u8, program: &mut Reader<'_>) -> Result<(), Refusal> {
        let register = uleb(program)?;
        let alignment = self.context.data_alignment;
        let column = match opcode {
            0x05 => return uleb(program).and_then(|offset| self.saved_at(register, offset as i64)),
            0x11 => return sleb(program).and_then(|offset| self.saved_at(register, offset)),
            0x2f => return uleb(program).and_then(|offset| self.saved_at(register, (offset as i64).wrapping_neg())),
            0x06 => return self.restore(register),
            0x07 => Column::Undefined,
            0x08 => Column::Same,
            0x09 => uleb(program).map(|_| Column::Refused)?,
            0x14 => is_cfa((uleb(program)? as i64).wrapping_mul(alignment)),
            0x15 => is_cfa(sleb(program)?.wrapping_mul(alignment)),
            _ => {
                let value = self.expression(program, Some(Value::Plus(Origin::Cfa, 0)))?;
                computed(value, opcode == 0x10)
            }
        };
        self.row.set(register, self.context.cpu, column);
        Ok(())
    }

    fn saved_at(&mut self, register: u64, factored: i64) -> Result<(), Refusal> {
        let offset = factored.wrapping_mul(self.context.data_alignment);
        let column = i32::try_from(offset).map_or(Column::Refused, |offset| Column::At(Origin::Cfa, offset));
        self.row.set(register, self.context.cpu, column);
        Ok(())
    }

    fn restore(&mut self, register: u64) -> Result<(), Refusal> {
        let mut initial = *self.initial.ok_or(Refusal::Instruction)?;
        if let Some(column) = initial.column(register, self.context.cpu) {
            self.row.set(register, self.context.cpu, *column);
        }
        Ok(())
    }

    fn advance(&mut self, delta: Option<u64>) -> Result<(), Refusal> {
        let delta = delta.ok_or(Refusal::Truncated)?.wrapping_mul(self.context.code_alignment);
        self.set_location(Some(self.location.wrapping_add(delta as usize)))
    }

    fn set_location(&mut self, location: Option<usize>) -> Result<(), Refusal> {
        if self.initial.is_none() {
            return Err(Refusal::Instruction);
        }
        self.location = location.ok_or(Refusal::Format)?;
        Ok(())
    }

    fn remember(&mut self) -> Result<(), Refusal> {
        *self.remembered.get_mut(self.depth).ok_or(Refusal::TooNested)? = *self.row;
        self.depth += 1;
        Ok(())
    }

    fn recall(&mut self) -> Result<(), Refusal> {
        self.depth = self.depth.checked_sub(1).ok_or(Refusal::Instruction)?;
        *self.row = *self.remembered.get(self.depth).ok_or(Refusal::Instruction)?;
        Ok(())
    }
}

fn uleb(program: &mut Reader<'_>) -> Result<u64, Refusal> {
    program.uleb().ok_or(Refusal::Truncated)
}

fn sleb(program: &mut Reader<'_>) -> Result<i64, Refusal> {
    program.sleb().ok_or(Refusal::Truncated)
}

fn pack(origin: Origin, offset: i64) -> Option<(Base, i32)> {
    base(origin).zip(i32::try_from(offset).ok())
}

fn is_cfa(offset: i64) -> Column {
    i32::try_from(offset).map_or(Column::Refused, |offset| Column::Is(Origin::Cfa, offset))
}

/// The column of `DW_CFA_expression` (`in_memory`) or `DW_CFA_val_expression`.
fn computed(value: Option<Value>, in_memory: bool) -> Column {
    let (column, origin, offset): (fn(Origin, i32) -> Column, _, _) = match value {
        Some(Value::Plus(origin, offset)) if in_memory => (Column::At, origin, offset),
        Some(Value::Plus(origin, offset)) => (Column::Is, origin, offset),
        // The value that is loaded from there: the same as being saved there.
        Some(Value::Loaded(origin, offset, 0)) if !in_memory => (Column::At, origin, offset),
        _ => return Column::Refused,
    };
    i32::try_from(offset).map_or(Column::Refused, |offset| column(origin, offset))
}
