//! `fermata serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, Role, Site, Sources};
use crate::process::{Exit, ServeOptions, Trouble, serve};

const EXAMPLES: &str = "\
Examples:
  fermata serve                              the roles of FERMATA_ROLES (api, worker and browser by default)
  fermata serve --role api                   one role; start as many nodes as you like
  fermata serve --role worker --probes 0.0.0.0:9090
  fermata serve --role echo                  a service beside the API, on a port of its own

Settings come from the environment; `fermata config check` lists all that is wrong with them, and
.env.example explains each. The schema must be current: run `fermata migrate` first.";

/// Flags of `fermata serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// What this process does: api, worker, browser, logging, renderctl, echo, with commas between
    #[arg(long, value_delimiter = ',', value_parser = role, value_name = "ROLES")]
    role: Vec<Role>,
    /// A name for this process in the ready file
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// A site that flows may name `${env.NAME}`, in place of the one in SITES; may be given several times
    #[arg(long, value_name = "NAME=URL")]
    site: Vec<Site>,
    /// Written once everything answers
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Where the browser role listens for workers
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    webdriver_listen: SocketAddr,
    /// Where a process without the API answers /health, /ready and /metrics
    #[arg(long, value_name = "ADDR")]
    probes: Option<SocketAddr>,
    /// Started by `dev`: Ctrl-C is for the parent
    #[arg(long, hide = true)]
    under_dev: bool,
}

fn role(word: &str) -> Result<Role, String> {
    Role::named(word).ok_or_else(|| format!("known are {}", Role::SERVED.join(", ")))
}

pub(super) async fn run(args: ServeArgs) -> Result<Exit, Trouble> {
    let config = Config::load(&args.role, &Sources::of_process([]))?;
    let options = ServeOptions {
        node: args.node,
        sites: args.site,
        ready_file: args.ready_file,
        webdriver_listen: args.webdriver_listen,
        probes: args.probes,
        ignore_interrupt: args.under_dev,
    };
    serve(config, options).await
}
