//! apalis: our own backend over the live rows, and the worker that carries runs.
//!
//! The only room that knows apalis (design, section 4). A run is executed inside of a worker's
//! service call, delivered by [`backend::RunBackend`]; no other loop executes runs.

mod backend;
mod claimer;
mod worker;

pub(crate) use claimer::claim_forever;
pub(crate) use worker::work;
