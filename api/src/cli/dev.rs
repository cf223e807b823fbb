//! `fermata dev`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, Role, Sources};
use crate::process::{DevOptions, Exit, Trouble, dev};

const EXAMPLES: &str = "\
Examples:
  fermata dev                                          on the usual ports, data in .fermata
  fermata dev --control 127.0.0.1:0 --ready-file r.json   on free ports; r.json says which
  DATABASE_URL=postgres://… fermata dev                with a database of your own

Ctrl-C or SIGTERM drains and ends with 0; a second one ends at once. Nothing is lost either way.";

/// Flags of `fermata dev`; every other setting comes from the environment.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DevArgs {
    /// Folder for the database, artifacts, logs and the token [default: .fermata]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where REST and GraphQL listen [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDR")]
    control: Option<SocketAddr>,
    /// Where the event stream listens [default: 127.0.0.1:7071]
    #[arg(long, value_name = "ADDR")]
    telemetry: Option<SocketAddr>,
    /// Where the pretend social network listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7079")]
    demo_site: SocketAddr,
    /// Written once everything answers: a JSON object with all addresses
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

pub(super) async fn run(args: DevArgs) -> Result<Exit, Trouble> {
    let flags = [
        ("FERMATA_DATA_DIR", args.data_dir.map(|path| path.to_string_lossy().into_owned())),
        ("LISTEN_CONTROL", args.control.map(|address| address.to_string())),
        ("LISTEN_TELEMETRY", args.telemetry.map(|address| address.to_string())),
    ];
    let flags = flags.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let config = Config::load(&[Role::Dev], &Sources::of_process(flags))?;
    dev(config, DevOptions { demo_site: args.demo_site, ready_file: args.ready_file }).await
}
