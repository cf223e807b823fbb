//! The browser lane: pages driven over the W3C WebDriver protocol.
//!
//! Owns how a control is found (computed accessible name and role first, CSS last), how it is made
//! sure that it can be acted on, and how a lost answer is told from a refusal. Knows nothing of
//! flows, accounts or platforms, and starts no process: an endpoint (our supervisor, chromedriver,
//! a Selenium Grid) is given. The only place in Fermata that uses thirtyfour.
//!
//! Read first: [`BrowserLane`], which opens a [`Page`]; [`Target`], which names a control.
//! To add a way to find a control: one field of [`Target`], one list in `locate.js`, one [`Tier`].

mod act;
mod carrier;
mod condition;
mod download;
mod error;
mod lane;
mod locate;
mod page;
mod script;
mod target;
mod upload;

pub use carrier::{DEADLINE_HEADER, FENCE_HEADER, Fence};
pub use download::Download;
pub use error::{BrowserError, FailureClass};
pub use lane::{BrowserLane, BrowserOptions};
pub use page::Page;
pub use target::{Condition, DataAttribute, Read, Target, Tier};

/// A log target that says at debug what is typed into pages: no filter may let it (I12).
pub const TALKATIVE_LOG_TARGET: &str = "thirtyfour";
