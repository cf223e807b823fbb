//! Runs: how a command is accepted, driven, waited for and ended.
//!
//! Owns [`Submission`] (what a client asks for), the drive of one delivery, and control from
//! outside (signal, cancel, resume, decide). Read `submit` for the way in, `drive` for the way
//! through.

mod control;
mod drive;
mod ending;
mod lease;
mod submit;

pub use control::{Cancelled, ControlError, DecideError, Decision, NewSignal};
pub(crate) use drive::{Delivery, drive};
pub use ending::Ending;
pub(crate) use ending::Endings;
pub(crate) use lease::Lease;
pub use submit::{Receipt, Submission, SubmitError};
