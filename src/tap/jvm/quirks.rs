//! Differences between JDK versions and processors that are *not* in the exported tables: one table.
//!
//! Everything that `gHotSpotVM*` exports is taken from there; here stand only the facts that HotSpot keeps to itself,
//! each with the source file that states it.

/// The frame-layout facts of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quirks {
    /// First feature release that this row holds for.
    pub(super) since: i32,
    /// Interpreter frame: word, counted from the frame pointer, that holds the bytecode pointer
    /// (`frame_x86.hpp`, `frame_aarch64.hpp`: `interpreter_frame_bcp_offset`).
    pub(super) bcp_slot: isize,
    /// JDK 8: that word holds the bytecode *index* while a collection runs (`frame.cpp`, `oops_interpreted_do`).
    pub(super) bcp_may_be_index: bool,
    /// Lowest digit of UNSIGNED5 (`unsigned5.hpp`: 1 since zero bytes are excluded).
    pub(super) lowest_digit: u8,
}

const AARCH64: bool = cfg!(target_arch = "aarch64");
/// The class mirror joined the frame in JDK 9; aarch64 pads to 16 bytes.
const BCP_SLOT: isize = if AARCH64 { -9 } else { -8 };
/// A row without any quirk.
const PLAIN: Quirks = Quirks { since: 0, bcp_slot: 0, bcp_may_be_index: false, lowest_digit: 0 };

/// Interpreter frames of both processors keep `Method*` and the sender's stack pointer at these words.
pub(super) const METHOD_SLOT: isize = -3;
/// See [`METHOD_SLOT`].
pub(super) const SENDER_SP_SLOT: isize = -1;

/// Rows in ascending order; the last whose `since` is reached holds.
const TABLE: [Quirks; 3] = [
    Quirks { since: 8, bcp_slot: -7, bcp_may_be_index: true, lowest_digit: 0 },
    Quirks { since: 9, bcp_slot: BCP_SLOT, ..PLAIN },
    Quirks { since: 20, bcp_slot: BCP_SLOT, lowest_digit: 1, ..PLAIN },
];

/// Feature releases on which the walker was compared with JVMTI, frame by frame (`tests/java_frames.rs`).
pub(super) const TESTED: [i32; 8] = [8, 11, 17, 21, 25, 26, 27, 28];

/// The row of a feature release; `None` before JDK 8.
pub(super) fn of_release(release: i32) -> Option<Quirks> {
    TABLE.iter().rev().find(|row| row.since <= release).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_ascend_and_the_last_reached_one_holds() {
        assert!(TABLE.is_sorted_by_key(|row| row.since));
        assert_eq!(of_release(7), None);
        assert_eq!(of_release(8).map(|row| row.since), Some(8));
        assert_eq!(of_release(17).map(|row| row.lowest_digit), Some(0));
        assert_eq!(of_release(19).map(|row| row.since), Some(9));
        assert_eq!(of_release(99).map(|row| row.since), Some(20));
    }
}
