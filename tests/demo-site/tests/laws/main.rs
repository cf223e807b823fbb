//! The laws of the demo site, each checked against the running program over true HTTP.
//!
//! Read [`running::Running`] first: one process with its own ledger, killed when it is dropped. Its
//! webhooks go to an [`inbox::Inbox`].

#[cfg(test)]
mod inbox;
#[cfg(test)]
mod running;

#[cfg(test)]
mod effects;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fences;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod studio;
#[cfg(test)]
mod webhook_faults;
#[cfg(test)]
mod webhooks;
