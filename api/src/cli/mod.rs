//! The command line: words in, one exit code out.
//!
//! Owns what can be typed and how it is answered. Decides nothing: each command calls the API
//! (`api`), the engine, or [`process`](crate::process). One file per noun; to add a command, add
//! its file, a variant of `Command` and a line in `run`.

mod api;
mod audit;
mod bench;
mod config;
mod demo;
mod desk;
mod dev;
mod doctor;
mod events;
mod explain;
mod gates;
mod kill;
mod migrate;
mod policy;
mod runs;
mod serve;
mod stream;
mod submit;
mod token;
mod watch;
mod workflows;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::process::{Exit, Trouble, remark, say};

/// How long the program waits for what it no longer needs, such as a blocked read.
const LEAVE_LIMIT: Duration = Duration::from_millis(200);

const EXAMPLES: &str = "\
Begin here:
  fermata dev                       everything on this machine
  fermata demo                      the tour, against a running `dev`
  fermata submit command.json       submit a command; `fermata watch ID` follows it
  fermata doctor                    what is wrong, and how to mend it

Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 auth, 5 conflict, 6 unreachable or timeout,
7 blocked, 8 outcome unknown, 9 waiting for a person, 10 configuration invalid, 130 interrupted.
`fermata explain CODE` says more about each, and about every problem code.";

/// Durable workflows on Postgres that act on the outside world exactly once, or stop and ask.
#[derive(Debug, Parser)]
#[command(name = "fermata", version, about, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Cli {
    /// Print data as JSON, errors too.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine: database, API, workers, browsers, a demo site.
    Dev(dev::DevArgs),
    /// Run roles in this process, against DATABASE_URL.
    Serve(serve::ServeArgs),
    /// Take the tour, against a running `fermata dev`.
    Demo(demo::DemoArgs),
    /// Bring the schema of a database up to this program.
    Migrate(migrate::MigrateArgs),
    /// Look at everything that could be wrong, and say how to mend it.
    Doctor(doctor::DoctorArgs),
    /// Check the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Explain an exit code or a problem code.
    Explain(explain::ExplainArgs),
    /// Create, list, rotate and revoke access tokens.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Submit a command.
    Submit(submit::SubmitArgs),
    /// Follow a command until it ends.
    Watch(watch::WatchArgs),
    /// List and show what this installation can do.
    #[command(subcommand)]
    Workflows(workflows::WorkflowsCommand),
    /// List, show, cancel and resume commands.
    #[command(subcommand)]
    Runs(runs::RunsCommand),
    /// List and decide what waits for a person.
    #[command(subcommand)]
    Gates(gates::GatesCommand),
    /// Stop effects, or let them go on.
    #[command(subcommand)]
    Kill(kill::KillCommand),
    /// Say what may be done, when and how often.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Search the audit trail, and verify that nobody has changed it.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Follow what happens.
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Measure this machine.
    Bench(bench::BenchArgs),
}

impl Command {
    /// `dev` ties children to its thread, and what comes and goes needs only one.
    fn wants_threads(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Bench(_))
    }
}

/// Parses the command line, does what it says, and answers the exit code.
pub fn main() -> ExitCode {
    // Asking for help is no error; a wrong word is one, with code 2. `parse` ends the process for both.
    let cli = Cli::parse();
    let json = cli.json;
    // reqwest panics where no TLS provider is installed; losing this race is as good as winning it.
    drop(rustls::crypto::ring::default_provider().install_default());
    let answer = runtime(cli.command.wants_threads()).and_then(|runtime| {
        let answer = runtime.block_on(Box::pin(run(cli)));
        runtime.shutdown_timeout(LEAVE_LIMIT);
        answer
    });
    match answer {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            if json {
                remark(trouble.to_json());
            } else {
                remark(&trouble);
            }
            trouble.exit().into()
        }
    }
}

fn runtime(threads: bool) -> Result<Runtime, Trouble> {
    let mut builder = if threads { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    // Half of the cores: the other half carries Postgres or another node, and with fewer threads more of those who
    // wait for a commit are woken before the next one goes (docs/decisions.md). TOKIO_WORKER_THREADS says otherwise.
    if threads && std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        builder.worker_threads((cores / 2).max(1));
    }
    builder.enable_all().build().map_err(|error| Trouble::failed("no runtime").why(error.to_string()))
}

async fn run(cli: Cli) -> Result<Exit, Trouble> {
    let out = Output { json: cli.json };
    match cli.command {
        Command::Dev(args) => Box::pin(dev::run(args)).await,
        Command::Serve(args) => Box::pin(serve::run(args)).await,
        Command::Demo(args) => interruptible(demo::run(args, out)).await,
        Command::Migrate(args) => interruptible(migrate::run(args, out)).await,
        Command::Doctor(args) => interruptible(doctor::run(args, out)).await,
        Command::Config(command) => config::run(&command, out),
        Command::Explain(args) => explain::run(&args, out),
        Command::Token(command) => interruptible(token::run(command, out)).await,
        Command::Submit(args) => interruptible(submit::run(args, out)).await,
        Command::Watch(args) => interruptible(watch::run(args, out)).await,
        Command::Workflows(command) => interruptible(workflows::run(command, out)).await,
        Command::Runs(command) => interruptible(runs::run(command, out)).await,
        Command::Gates(command) => interruptible(gates::run(command, out)).await,
        Command::Kill(command) => interruptible(kill::run(command, out)).await,
        Command::Policy(command) => interruptible(policy::run(command, out)).await,
        Command::Audit(command) => interruptible(audit::run(command, out)).await,
        Command::Events(command) => interruptible(events::run(command, out)).await,
        // It has a database to put away, so it looks after Ctrl-C itself.
        Command::Bench(args) => Box::pin(bench::run(args, out)).await,
    }
}

/// Ends with 130 on Ctrl-C; what was begun is dropped.
async fn interruptible(work: impl Future<Output = Result<Exit, Trouble>>) -> Result<Exit, Trouble> {
    tokio::select! {
        answer = Box::pin(work) => answer,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

/// How answers are printed.
#[derive(Debug, Clone, Copy)]
struct Output {
    json: bool,
}

impl Output {
    /// Prints the data as JSON where that was asked for, as `text` otherwise.
    fn print(self, data: &Value, text: impl FnOnce() -> String) {
        if self.json {
            say(format_args!("{data:#}"));
        } else {
            say(text());
        }
    }
}

/// Rows with a heading, each column as wide as it must be.
fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|&word| word.to_owned()).collect();
    let all = || std::iter::once(&heading).chain(rows);
    let width = |n: usize| all().filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all().map(line).collect::<Vec<_>>().join("\n")
}

/// A field of an answer as text; empty when it is absent.
fn field(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_table_is_as_wide_as_it_must_be() {
        let rows = vec![vec!["a".into(), "long one".into()], vec!["bcd".into(), "x".into()]];
        assert_eq!(table(&["id", "what"], &rows), "id   what\na    long one\nbcd  x");
    }
}
