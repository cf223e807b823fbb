//! Laws of the REST surface, over the whole router and a real engine on a database of its own.

mod access;
mod artifacts;
mod harness;
mod pages;
mod reads;
mod refusals;
mod submit;
