//! The laws of the demo site, each checked against the running program over true HTTP.
//!
//! Read [`running::Running`] first: one process with its own ledger, killed when it is dropped.

#[cfg(test)]
mod running;

#[cfg(test)]
mod effects;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod studio;
