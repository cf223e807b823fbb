//! The program `fermata` with crash points and mutants, for the rig in `tests/torture`.
//!
//! `fermata-rigged rig` lists what it can be told to do; everything else is `fermata`.

use std::process::ExitCode;

use fermata_engine::rigged::{points, rules};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("rig") {
        println!("{}", serde_json::json!({ "points": points::ALL, "mutants": rules::ALL }));
        return ExitCode::SUCCESS;
    }
    fermata_api::cli::main()
}
