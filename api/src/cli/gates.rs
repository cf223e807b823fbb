//! `fermata gates`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{Api, ApiArgs};
use super::runs::{json_value, present, query};
use super::{Output, field, table};
use crate::process::{Exit, Trouble};

/// How much of what a person is to see stands in the table; `--json` has all of it.
const MAX_SHOWN: usize = 120;

/// What can be done with waits for a person.
#[derive(Debug, Subcommand)]
pub(crate) enum GatesCommand {
    /// List gates, newest first.
    #[command(after_help = "Examples:\n  fermata gates list\n  fermata gates list --state approved,rejected")]
    List(ListArgs),
    /// Say yes.
    #[command(after_help = "Example:\n  fermata gates approve 0190… --comment 'looks right'")]
    Approve(DecideArgs),
    /// Say no.
    #[command(after_help = "Example:\n  fermata gates reject 0190… --comment 'not this one'")]
    Reject(DecideArgs),
}

/// Which gates.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// States, with commas between: open, approved, rejected, completed, expired, cancelled
    #[arg(long, value_name = "STATES", default_value = "open")]
    state: String,
    /// Those of one command
    #[arg(long, value_name = "ID")]
    command: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Which gate, and what the person says.
#[derive(Debug, Args)]
pub(crate) struct DecideArgs {
    /// The gate
    #[arg(value_name = "ID")]
    id: String,
    /// For the record
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// What the person adds or corrects, as JSON
    #[arg(long, value_name = "JSON", value_parser = json_value)]
    outputs: Option<Value>,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(command: GatesCommand, out: Output) -> Result<Exit, Trouble> {
    match command {
        GatesCommand::List(args) => list(args, out).await,
        GatesCommand::Approve(args) => decide(args, "approve", out).await,
        GatesCommand::Reject(args) => decide(args, "reject", out).await,
    }
}

async fn list(args: ListArgs, out: Output) -> Result<Exit, Trouble> {
    let api = Api::find(&args.api)?;
    let page = api.get(&query("/v1/gates", &[("state", Some(args.state)), ("command_id", args.command)])).await?;
    out.print(&page, || {
        let row = |it: &Value| {
            let mut row =
                ["gate_id", "state", "kind", "reason", "command_id", "opened_at"].map(|name| field(it, name)).to_vec();
            row.push(field(it, "shown").chars().take(MAX_SHOWN).collect());
            row
        };
        let rows: Vec<_> = page["items"].as_array().into_iter().flatten().map(row).collect();
        table(&["gate", "state", "kind", "reason", "command", "since", "shown"], &rows)
    });
    Ok(Exit::Done)
}

async fn decide(args: DecideArgs, word: &str, out: Output) -> Result<Exit, Trouble> {
    let api = Api::find(&args.api)?;
    let body = present([
        ("decision", Some(json!(word))),
        ("comment", args.comment.map(Value::from)),
        ("outputs", args.outputs),
    ]);
    let gate = api.post(&format!("/v1/gates/{}/decisions", args.id), &body).await?;
    out.print(&gate, || format!("{}  {}", field(&gate, "gate_id"), field(&gate, "state")));
    Ok(Exit::Done)
}
