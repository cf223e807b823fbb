//! `fermata config check`.

use clap::{Args, Subcommand};
use serde_json::json;

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
    /// Demand more than Fermata needs: `myloware-strict` wants every variable of that document set (M-182)
    #[arg(long, value_parser = [STRICT], value_name = "PROFILE")]
    profile: Option<String>,
}

/// The profile of the media document, whose deployments expect all of [`STRICT_KEYS`].
const STRICT: &str = "myloware-strict";
/// What it demands, each under any of its names. Fermata itself uses only the database's (C-14).
const STRICT_KEYS: &[&[&str]] =
    &[&["API_KEY"], &["DB_URL", "DATABASE_URL"], &["REDIS_URL"], &["SENTRY_DSN"], &["LANGSMITH_API_KEY"]];

/// The variables of the strict profile that are not set, by their first names.
fn missing(is_set: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let unset = STRICT_KEYS.iter().filter(|names| !names.iter().any(|name| is_set(name)));
    unset.filter_map(|names| names.first().copied()).collect()
}

pub(super) fn run(command: &ConfigCommand, out: Output) -> Result<Exit, Trouble> {
    let ConfigCommand::Check(args) = command;
    let roles: Vec<Role> = args.role.iter().filter_map(|name| Role::named(name)).collect();
    let report = build_config_report(&roles, &Sources::of_process([]));
    let mut data = serde_json::to_value(&report).map_err(|error| Trouble::failed(error.to_string()))?;
    let missing = match &args.profile {
        Some(_) => missing(|name| std::env::var(name).is_ok_and(|value| !value.is_empty())),
        None => Vec::new(),
    };
    if let (Some(profile), Some(data)) = (&args.profile, data.as_object_mut()) {
        data.insert("profile".to_owned(), json!({ "name": profile, "missing": missing }));
    }
    out.print(&data, || {
        let demands = missing.iter().map(|name| format!("\n{name}: the profile {STRICT} wants it set"));
        format!("{report}{}", demands.collect::<String>())
    });
    Ok(if report.ok && missing.is_empty() { Exit::Done } else { Exit::Config })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strict_profile_names_each_variable_that_is_not_set() {
        assert_eq!(missing(|_| true), [""; 0]);
        assert_eq!(missing(|_| false), ["API_KEY", "DB_URL", "REDIS_URL", "SENTRY_DSN", "LANGSMITH_API_KEY"]);
        assert_eq!(missing(|name| name == "DATABASE_URL" || name.ends_with("KEY")), ["REDIS_URL", "SENTRY_DSN"]);
    }
}
