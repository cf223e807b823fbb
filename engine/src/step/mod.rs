//! Steps: named units whose results are checkpoints, and the law of their replay.
//!
//! Owns keys, kinds and the match between what the code calls and what is recorded. Pure: no
//! database, no clock. Read `Replay`.

mod replay;

pub(crate) use replay::{Begun, Kind, Mismatch, Recorded, Replay};

/// The most checkpoints of one generation of a run; `continue_as_new` begins a new one.
pub const MAX_STEPS: usize = 10_000;
