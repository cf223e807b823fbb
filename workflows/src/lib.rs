//! What the product can do: the browser lane, and flows as data that drive it.
//!
//! Owns the workflows of the product: [`flow`] (`flow.run`, workflows written as data), [`mod@bench`]
//! (`bench.steps`), [`action`] (`action.run`), [`sora`] (`sora.generate`), and the packs that come with them. Knows the engine; knows nothing of HTTP
//! servers, queues or SQL. Read [`Installation`] and [`registry`] first: they are what a process
//! hosts. A new platform is a new pack; a new workflow is one folder and one line in `registry`.

pub mod action;
pub mod bench;
pub mod browser;
mod catalog;
mod classifiers;
pub mod flow;
mod host;
mod installation;
mod packs;
pub mod sora;
mod words;

pub use catalog::{Catalog, CatalogEntry, CatalogStep, WorkflowKind};
pub use host::{HostPattern, NotAHostPattern};
pub use installation::{Installation, registry};
pub use packs::packs;
pub use words::vocabulary;
