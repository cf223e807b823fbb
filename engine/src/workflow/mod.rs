//! Workflows: named, versioned code whose runs survive a crash.
//!
//! Owns what an author writes against: [`Workflow`], [`Context`], [`Failure`], [`RetryPolicy`].
//! Knows nothing of SQL, queues or HTTP. Read [`Workflow`] and [`Context`] first; to add a
//! workflow, implement the trait and add one line to a [`Registry`].

mod branch;
mod context;
mod definition;
mod failure;
mod foresight;
mod parts;
mod registry;
mod retry;
pub(crate) mod session;
mod step;
mod unrecorded;

pub use branch::{Branch, ChildHandle};
pub use context::Context;
pub(crate) use context::gate_parts;
pub(crate) use definition::DynWorkflow;
pub use definition::{About, Subject, Workflow};
pub use failure::{Failure, StepError};
pub use foresight::{Foreseen, Foresight, Reached};
pub(crate) use parts::Parts;
pub use registry::Registry;
pub use retry::RetryPolicy;
pub use step::{Attempt, StepBuilder};
pub(crate) use step::{FailedAttempt, failure_parts};
pub use unrecorded::Unrecorded;
