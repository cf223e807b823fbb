//! The program `fermata`.

use std::process::ExitCode;

/// Two fifths of a busy worker's own time went into glibc's (docs/decisions.md, "The allocator").
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fermata_api::cli::main()
}
