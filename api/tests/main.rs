//! The laws of the surfaces and of the programs, in one binary, for linking takes most of the build.

mod bench;
mod browser_supervisor;
mod cli_acts;
mod cli_dev;
mod cli_words;
mod end_to_end;
mod fuzz;
mod graphql;
mod migrate;
mod private_postgres;
mod rest;
mod service;
mod stream;
mod surfaces;
