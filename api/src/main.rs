//! The program `fermata`.

use std::process::ExitCode;

fn main() -> ExitCode {
    fermata_api::cli::main()
}
