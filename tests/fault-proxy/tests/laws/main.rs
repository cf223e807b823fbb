//! The laws of the fault proxy, each checked against the running program.
//!
//! Read [`running::Proxy`] first: one process with its own control socket, killed when it is
//! dropped. The laws of Postgres need a server: see [`database::url`].

#[cfg(test)]
mod database;
#[cfg(test)]
mod running;

#[cfg(test)]
mod commits;
#[cfg(test)]
mod control;
#[cfg(test)]
mod exchanges;
#[cfg(test)]
mod http;
#[cfg(test)]
mod links;
#[cfg(test)]
mod transparency;
