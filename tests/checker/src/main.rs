//! `fermata-check FOLDER... [--json]`: judges trial folders.
//!
//! Ends with 0 when every promise holds in every folder, with 1 when one is broken, and with 2
//! when a folder cannot be read or the call is wrong.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use fermata_checker::{Report, check, read};
use serde_json::json;

/// Judges what the torture rig wrote down of its trials.
#[derive(Debug, Parser)]
#[command(name = "fermata-check", version)]
struct Arguments {
    /// The trial folders.
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Print one JSON object a folder instead of a report.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut worst = 0;
    for folder in &arguments.folders {
        match judge(folder, arguments.json) {
            Ok(holds) => worst = worst.max(u8::from(!holds)),
            Err(why) => {
                // A closed terminal is no reason to fail twice.
                let _ = writeln!(io::stderr(), "fermata-check: {}: {why}", folder.display());
                worst = 2;
            }
        }
    }
    ExitCode::from(worst)
}

fn judge(folder: &Path, json: bool) -> Result<bool, Box<dyn std::error::Error>> {
    let trial = read(folder)?;
    let verdict = check(&trial);
    let name = folder.display().to_string();
    let text = if json {
        let (seed, number) = (trial.facts.seed, trial.facts.trial);
        format!(
            "{}\n",
            json!({"folder": name, "seed": seed, "trial": number, "holds": verdict.holds(), "verdict": verdict})
        )
    } else {
        Report { folder: &name, facts: &trial.facts, verdict: &verdict }.to_string()
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(verdict.holds())
}
