//! What a rigged build can be told to do: fall at a named point, or break a rule on purpose.
//!
//! Only a build with the feature `rigged` has any of it, and no release is built with that: without
//! the feature `crash_point!` is nothing and `mutant!` is `false`. The rig in `tests/torture` tells
//! the program through its environment:
//!
//! - `RIGGED_POINT=name:how:n`: at the n-th time that this process reaches the point, `abort` (die at
//!   once, as by SIGKILL), `hang` (that thread never goes on) or `stop` (the whole process stands still
//!   until SIGCONT);
//! - `RIGGED_MUTANT=name`: that rule is broken from the start;
//! - `RIGGED_LOG=file`: a line `reached NAME` for each point that was reached, `fired NAME` before it
//!   acts.
//!
//! To add a point, write `crash_point!("name")` where it is and the name into `points::ALL`.

#[cfg(feature = "rigged")]
pub mod points;
#[cfg(feature = "rigged")]
pub mod rules;

/// Falls here when the rig wants so; nothing in a release.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "rigged")]
        $crate::rigged::points::reach($name);
    };
}

/// Whether this build is to break a rule on purpose; `false` in a release.
macro_rules! mutant {
    ($name:literal) => {{
        #[cfg(feature = "rigged")]
        let broken = $crate::rigged::rules::broken($name);
        #[cfg(not(feature = "rigged"))]
        let broken = false;
        broken
    }};
}

pub(crate) use {crash_point, mutant};
