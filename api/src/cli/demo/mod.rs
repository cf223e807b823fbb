//! `fermata demo`: the tour. Every tick is a checked assertion, every number was measured just then.
//!
//! Owns what is shown and in which order. Speaks to Fermata as any client does: over the API. Only
//! the killing is done by the operating system. To add a part, write its file and add a variant of
//! [`Part`].

mod approval;
mod crash;
mod replay;
mod tour;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use self::tour::Tour;
use super::Output;
use crate::process::{Exit, READY_FILE, Ready, Trouble};

const EXAMPLES: &str = "\
Examples:
  fermata demo                 every part, against the `dev` of this folder
  fermata demo crash           one part
  fermata demo --ci --ready-file ready.json

Ends with 0 only if every line held.";

/// Which parts, and against which `dev`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// The part; all of them when left out
    #[arg(value_enum)]
    part: Option<Part>,
    /// Nobody is watching: nothing is asked, nothing is waited for
    #[arg(long)]
    ci: bool,
    /// The ready file of the running `dev`
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// The data folder of the running `dev`
    #[arg(long, value_name = "DIR", env = "FERMATA_DATA_DIR", default_value = ".fermata")]
    data_dir: PathBuf,
}

/// A part of the tour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The worker is killed right after the click; another finishes, and nothing happens twice
    Crash,
    /// A direct message stops at its gate, and goes out once when somebody says yes
    Approval,
    /// The stream is cut and resumed: nothing is missing, nothing comes twice
    Replay,
}

pub(super) async fn run(args: DemoArgs, out: Output) -> Result<Exit, Trouble> {
    let path = args.ready_file.unwrap_or_else(|| args.data_dir.join(READY_FILE));
    let ready = Ready::read(&path).map_err(|error| Trouble::file("cannot read", &path, &error))?;
    let Some(ready) = ready else {
        return Err(Trouble::new(Exit::Unreachable, "no running `fermata dev` was found")
            .why(format!("{} does not exist", path.display()))
            .remedy("start `fermata dev` in another terminal, or name its ready file with --ready-file"));
    };
    let mut tour = Tour::new(ready, path, out)?;
    for part in args.part.map_or_else(|| Part::value_variants().to_vec(), |part| vec![part]) {
        match part {
            Part::Crash => Box::pin(crash::run(&mut tour)).await?,
            Part::Approval => Box::pin(approval::run(&mut tour, args.ci)).await?,
            Part::Replay => Box::pin(replay::run(&mut tour)).await?,
        }
    }
    Ok(tour.end())
}
