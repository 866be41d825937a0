//! Protocol buffers, written by hand: numbers, bytes and messages within, as pprof and OTLP want them.

/// A protobuf message being written.
#[derive(Default)]
pub(crate) struct Message {
    /// What is written so far.
    pub(crate) buffer: Vec<u8>,
}

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    /// A number; 0 is the default and not written.
    pub(crate) fn number(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
    }

    /// Bytes, or a string.
    pub(crate) fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.buffer.extend_from_slice(bytes);
    }

    /// A number of eight bytes, as times are.
    pub(crate) fn fixed(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | 1);
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// Numbers in one field.
    pub(crate) fn packed(&mut self, field: u64, values: &[u64]) {
        let mut packed = Message::default();
        values.iter().for_each(|&value| packed.varint(value));
        self.bytes(field, &packed.buffer);
    }

    /// A message within.
    pub(crate) fn nested(&mut self, field: u64, message: Message) {
        self.bytes(field, &message.buffer);
    }
}

/// What stands in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A number.
    Number(u64),
    /// Bytes, a string, a message, or packed numbers.
    Bytes(&'a [u8]),
}

/// The fields of a message, in order; `None` where it is damaged, and nothing after that.
pub(crate) fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Option<(u64, Value<'_>)>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let read = field(&mut bytes);
        if read.is_none() {
            bytes = &[];
        }
        Some(read)
    })
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(bytes)?;
    let value = match key & 7 {
        0 => Value::Number(varint(bytes)?),
        1 => Value::Number(u64::from_le_bytes(split(bytes, 8)?.try_into().ok()?)),
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Value::Bytes(split(bytes, length)?)
        }
        _ => return None,
    };
    Some((key >> 3, value))
}

fn split<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

/// A number of seven bits a byte.
pub(crate) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_protobufs() {
        let mut message = Message::default();
        message.number(1, 150);
        message.bytes(2, b"testing");
        // The two examples of protobuf's encoding page.
        assert_eq!(message.buffer, [0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
        message.number(3, 0);
        assert_eq!(message.buffer.len(), 12);
        message.fixed(4, 7);
        let read: Option<Vec<_>> = fields(&message.buffer).collect();
        let expected = [(1, Value::Number(150)), (2, Value::Bytes(b"testing")), (4, Value::Number(7))];
        assert_eq!(read.unwrap(), expected);
        assert!(fields(&message.buffer[..8]).any(|field| field.is_none()));
    }
}
