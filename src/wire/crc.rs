//! CRC-32 (ISO-HDLC, the one of gzip and PNG): the checksum of files on a disk.

/// The polynomial, lowest bit first.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// The effect of each byte on a remainder.
const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = if remainder & 1 == 1 { remainder >> 1 ^ POLYNOMIAL } else { remainder >> 1 };
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
}

/// A checksum that grows with the bytes it is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc(u32);

impl Crc {
    /// Of no bytes yet.
    pub(crate) const fn new() -> Crc {
        Crc(!0)
    }

    /// Takes more bytes in.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let place = (self.0 as u8 ^ byte) as usize;
            self.0 = self.0 >> 8 ^ TABLE.get(place).copied().unwrap_or(0);
        }
    }

    /// The checksum of all bytes so far.
    pub(crate) fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Crc;

    #[test]
    fn the_check_value_of_the_standard() {
        let mut crc = Crc::new();
        crc.add(b"1234");
        crc.add(b"56789");
        assert_eq!(crc.value(), 0xcbf4_3926);
    }
}
