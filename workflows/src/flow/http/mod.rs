//! The API lane: bounded requests to listed hosts, and what their answers mean.
//!
//! [`HttpLane`] carries, `request` fills, `answer` judges (pure: a table). Knows no platform.

mod answer;
mod hosts;
mod lane;
mod request;

pub(crate) use answer::{Answered, Found, call_outcome, identified, read_outcome, sighting};
pub use hosts::AllowList;
pub use lane::{HttpError, HttpLane};
pub(crate) use request::Request;

#[cfg(test)]
mod tests;
