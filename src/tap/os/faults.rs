//! Bad values on purpose: what the walkers read lies, at a rate that `HEAPTAP_FAULTS` sets.
//!
//! Only in a build with the feature `faults`, which tests alone use (`scripts/build --faults`). In what ships these
//! functions are empty, and `tests/tidy.rs` looks for what they would leave.
//!
//! The readers are those of memory that is somebody else's: stacks, unwind tables, the Java virtual machine's tables
//! and objects, and what the kernel copies. Each hands what it has read to a function here. A bad value is zero, all
//! ones, a pointer that is a little off, a flipped bit, the value of an earlier read, or a refusal.

#[cfg(feature = "faults")]
pub(crate) use injected::{begin, copied, count, is_refused, pause, spoil, word};
#[cfg(not(feature = "faults"))]
pub(crate) use none::{copied, is_refused, spoil, word};

/// What ships: nothing is changed.
#[cfg(not(feature = "faults"))]
mod none {
    /// The word itself.
    #[inline(always)]
    pub(crate) fn word(value: usize) -> usize {
        value
    }

    /// The bytes of a value stay as they are.
    #[inline(always)]
    pub(crate) fn spoil(_value: &mut [u8]) {}

    /// No value is refused.
    #[inline(always)]
    pub(crate) fn is_refused() -> bool {
        false
    }

    /// The kernel's own answer.
    #[inline(always)]
    pub(crate) fn copied<E>(count: Result<usize, E>, _into: &mut [u8], _refused: [E; 2]) -> Result<usize, E> {
        count
    }
}

#[cfg(feature = "faults")]
mod injected {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// Of 2^32 reads, how many are bad.
    static RATE: AtomicU64 = AtomicU64::new(0);
    /// Number of the read; begins at the seed's own number.
    static READS: AtomicU64 = AtomicU64::new(0);
    static PAUSED: AtomicBool = AtomicBool::new(false);
    static INJECTED: AtomicU64 = AtomicU64::new(0);
    /// Values of earlier reads. Relaxed, as all here: each word stands for itself.
    static EARLIER: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

    /// Reads `PERCENT:SEED`, as `0.1:7`.
    pub(crate) fn begin(text: &[u8]) {
        let text = std::str::from_utf8(text).unwrap_or("");
        let (percent, seed) = text.split_once(':').unwrap_or((text, "1"));
        let rate = percent.parse::<f64>().unwrap_or(0.0).clamp(0.0, 100.0) / 100.0 * 4_294_967_296.0;
        READS.store(mixed(seed.parse().unwrap_or(1)), Ordering::Relaxed);
        RATE.store(rate as u64, Ordering::Relaxed);
    }

    /// Every second look for a Java virtual machine sees its tables as they are: of hundreds of values one is bad, and
    /// then nothing would be walked.
    pub(crate) fn pause(pauses: bool) {
        PAUSED.store(pauses, Ordering::Relaxed);
    }

    /// How many values were bad so far, for tests that want to know whether any was.
    pub(crate) fn count() -> u64 {
        INJECTED.load(Ordering::Relaxed)
    }

    /// The finaliser of MurmurHash3.
    fn mixed(bits: u64) -> u64 {
        let bits = (bits ^ bits >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let bits = (bits ^ bits >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        bits ^ bits >> 33
    }

    /// A random number if this read is to be bad.
    fn draw() -> Option<u64> {
        let random = mixed(READS.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed));
        let is_bad = random >> 32 < RATE.load(Ordering::Relaxed) && !PAUSED.load(Ordering::Relaxed);
        is_bad.then(|| {
            INJECTED.fetch_add(1, Ordering::Relaxed);
            mixed(random)
        })
    }

    fn bad(value: u64, random: u64) -> u64 {
        let (kind, detail) = (random % 6, random >> 8);
        match kind {
            0 => 0,
            1 => u64::MAX,
            2 => value.wrapping_add(8 * (detail % 64)).wrapping_sub(256),
            3 => value.wrapping_add((detail % 64) << 12).wrapping_sub(32 << 12),
            4 => value ^ 1 << (detail % 64),
            _ => EARLIER.get(detail as usize % EARLIER.len()).map_or(0, |earlier| earlier.load(Ordering::Relaxed)),
        }
    }

    /// The word, or a bad one.
    pub(crate) fn word(value: usize) -> usize {
        let mut bytes = value.to_ne_bytes();
        spoil(&mut bytes);
        usize::from_ne_bytes(bytes)
    }

    /// Makes a value bad, now and then: at most the first eight of its bytes.
    pub(crate) fn spoil(value: &mut [u8]) {
        let mut word = [0; 8];
        word.iter_mut().zip(value.iter()).for_each(|(to, from)| *to = *from);
        let now = u64::from_ne_bytes(word);
        match draw() {
            Some(random) => {
                value.iter_mut().zip(bad(now, random).to_ne_bytes()).for_each(|(to, from)| *to = from);
            }
            None if value.len() == 8 && now > 4096 => {
                let place = READS.load(Ordering::Relaxed) as usize >> 32;
                EARLIER
                    .get(place % EARLIER.len())
                    .into_iter()
                    .for_each(|earlier| earlier.store(now, Ordering::Relaxed));
            }
            None => {}
        }
    }

    /// Whether a read is refused.
    pub(crate) fn is_refused() -> bool {
        draw().is_some_and(|random| random % 6 == 0)
    }

    /// What the kernel has copied: cut short, refused in one of two ways, or with one bad word.
    pub(crate) fn copied<E>(count: Result<usize, E>, into: &mut [u8], refused: [E; 2]) -> Result<usize, E> {
        let Some(random) = draw() else { return count };
        let [fault, refusal] = refused;
        match (count, random % 8) {
            (_, 0) => Err(fault),
            (_, 1) => Err(refusal),
            (Ok(count), 2) => Ok(count / 2),
            (Ok(count), _) => {
                let from = (random >> 8) as usize % count.div_ceil(8).max(1) * 8;
                let word = into.get_mut(from..).unwrap_or_default();
                let mut bytes = [0; 8];
                bytes.iter_mut().zip(word.iter()).for_each(|(to, from)| *to = *from);
                let bad = bad(u64::from_ne_bytes(bytes), random >> 3).to_ne_bytes();
                word.iter_mut().zip(bad).for_each(|(to, from)| *to = from);
                Ok(count)
            }
            (trouble, _) => trouble,
        }
    }
}
