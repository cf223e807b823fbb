//! `fermata config check`.

use clap::{Args, Subcommand};

use super::Output;
use crate::config::{Role, Sources, build_config_report};
use crate::process::{Exit, Trouble};

/// What can be asked about the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List everything that is wrong, at once; values are never shown.
    Check(CheckArgs),
}

/// Flags of `fermata config check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fermata config check\n  fermata config check --role worker --json\n\n\
Ends with 0 when these roles may start, with 10 otherwise.")]
pub(crate) struct CheckArgs {
    /// The roles that are to start: api, worker, browser; those of FERMATA_ROLES when left out
    #[arg(long, value_delimiter = ',', value_parser = ["api", "worker", "browser"], value_name = "ROLES")]
    role: Vec<String>,
}

pub(super) fn run(command: &ConfigCommand, out: Output) -> Result<Exit, Trouble> {
    let ConfigCommand::Check(args) = command;
    let roles: Vec<Role> = args.role.iter().filter_map(|name| Role::named(name)).collect();
    let report = build_config_report(&roles, &Sources::of_process([]));
    let data = serde_json::to_value(&report).map_err(|error| Trouble::failed(error.to_string()))?;
    out.print(&data, || report.to_string());
    Ok(if report.ok { Exit::Done } else { Exit::Config })
}
