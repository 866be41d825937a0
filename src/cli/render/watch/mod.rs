//! The live screen: draws what it is given, into a frame of ratatui or as plain lines. Reads nothing and asks nobody.

mod life;
mod lives;

pub(crate) use life::{Life, Place};
pub(crate) use lives::{Lives, Row};
