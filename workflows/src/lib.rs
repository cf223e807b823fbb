//! What the product can do: the browser lane, and flows as data that drive it.
//!
//! Knows the engine; knows nothing of HTTP servers, queues or SQL.

pub mod browser;
pub mod flow;
