//! Webhooks out, in the form of Standard Webhooks (standardwebhooks.com), and how they go wrong.
//!
//! An account registers an [`endpoint::Endpoint`]; each effect of that account then becomes an
//! [`event::Event`], whose id is the same however often it is sent. Read [`fate::Fate`] for what
//! may be done to one event, and [`courier::Courier`] for the road it takes.
//!
//! Events are told whether or not the effect is hidden, in no promised order, at least once unless
//! they are dropped. Endpoints, like the mode, are forgotten when the site ends or is reset; what
//! had not gone by then never goes.

pub(crate) mod courier;
pub(crate) mod endpoint;
pub(crate) mod event;
pub(crate) mod fate;
pub(crate) mod letter;
pub(crate) mod routes;
