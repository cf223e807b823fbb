//! `fermata kill`: straight to the database of DATABASE_URL, also with the API down; over the API otherwise.

use std::time::Duration;

use clap::{Args, Subcommand};
use fermata_engine::access::Principal;
use fermata_engine::effect::{DRAIN_PATIENCE, SwitchScope, SwitchTurn};
use serde_json::{Value, json};

use super::api::{Api, ApiArgs};
use super::desk::Desk;
use super::runs::{query, route};
use super::{Output, field, table};
use crate::process::{Exit, Trouble};

/// Where switches with names are.
const SWITCHES: &str = "/v1/kill-switches";
/// What stands for a reason where none is given.
const BY_HAND: &str = "by hand, at the command line";

/// What can be done with kill switches.
#[derive(Debug, Subcommand)]
pub(crate) enum KillCommand {
    /// Stop effects: all of them, those of a client, or those of an account.
    #[command(after_help = "Examples:\n  fermata kill on --reason 'wrong price list'\n  \
        fermata kill on --client acme --account shop --wait\n\nWhen it has answered, no further effect begins. \
        What had begun before is listed; --wait waits for its end.")]
    On(TurnArgs),
    /// Let effects go on.
    #[command(after_help = "Example:\n  fermata kill off --client acme")]
    Off(TurnArgs),
    /// List the switches that were ever turned, those that are on first.
    #[command(after_help = "Example:\n  fermata kill list --json")]
    List(ListArgs),
}

/// Which switch, and why.
#[derive(Debug, Args)]
pub(crate) struct TurnArgs {
    /// Of this client; of everybody when left out
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Of this account; without --client, of the token's client, or of every client's account of that name
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = BY_HAND)]
    reason: String,
    /// Wait until the calls that had begun have ended, at most 20 s
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// Where the switches are.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(command: KillCommand, out: Output) -> Result<Exit, Trouble> {
    let api = match &command {
        KillCommand::On(TurnArgs { api, .. })
        | KillCommand::Off(TurnArgs { api, .. })
        | KillCommand::List(ListArgs { api }) => api.clone(),
    };
    let desk = Desk::find(&api).await?;
    let answer = Box::pin(act(&desk, command, out)).await;
    desk.close().await;
    answer
}

async fn act(desk: &Desk, command: KillCommand, out: Output) -> Result<Exit, Trouble> {
    match command {
        KillCommand::On(args) => turn(desk, args, true, out).await,
        KillCommand::Off(args) => turn(desk, args, false, out).await,
        KillCommand::List(_) => {
            let page = match desk {
                Desk::Database(engine) => json!({ "items": engine.kill_switches(&Principal::operator()).await? }),
                Desk::Api(api) => api.get("/v1/kill-switches").await?,
            };
            out.print(&page, || listed(&page));
            Ok(Exit::Done)
        }
    }
}

async fn turn(desk: &Desk, args: TurnArgs, engaged: bool, out: Output) -> Result<Exit, Trouble> {
    let waited = args.wait && engaged;
    let switch = match desk {
        Desk::Database(engine) => {
            let patience = if args.wait { DRAIN_PATIENCE } else { Duration::ZERO };
            let turn = SwitchTurn { engaged, reason: args.reason, patience };
            let scope = match (args.client, args.account) {
                (None, None) => SwitchScope::Global,
                (Some(client), None) => SwitchScope::Client(client),
                (client, Some(account)) => SwitchScope::Account { client, account },
            };
            json!(engine.turn_switch(&Principal::operator(), &scope, turn).await?)
        }
        Desk::Api(api) => over(api, args, engaged).await?,
    };
    out.print(&switch, || turned(&switch));
    let left = switch["under_way"].as_array().is_some_and(|left| !left.is_empty());
    Ok(if waited && left { Exit::Unreachable } else { Exit::Done })
}

async fn over(api: &Api, args: TurnArgs, engaged: bool) -> Result<Value, Trouble> {
    let wait = args.wait.then(|| "drain".to_owned());
    let path = match (args.client, args.account) {
        (None, None) => query("/v1/kill-switches/global", &[("wait", wait)]),
        (Some(client), None) => query(&route(SWITCHES, &["clients", &client]), &[("wait", wait)]),
        (client, Some(account)) => {
            query(&route(SWITCHES, &["accounts", &account]), &[("wait", wait), ("client_id", client)])
        }
    };
    api.put(&path, &json!({ "engaged": engaged, "reason": args.reason })).await
}

fn turned(switch: &Value) -> String {
    let state = if switch["engaged"] == true { "on" } else { "off" };
    let mut text = format!("{}  {state}", field(switch, "scope"));
    let left = switch["under_way"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !left.is_empty() {
        let row = |it: &Value| {
            ["action_id", "command_id", "client_id", "account_id", "call_deadline"].map(|name| field(it, name)).to_vec()
        };
        let rows: Vec<_> = left.iter().map(row).collect();
        text.push_str("\n\nunder way, begun before:\n");
        text.push_str(&table(&["action", "command", "client", "account", "ends by"], &rows));
    }
    text
}

fn listed(page: &Value) -> String {
    let row = |it: &Value| {
        let state = if it["engaged"] == true { "on" } else { "off" }.to_owned();
        vec![field(it, "scope"), state, field(it, "actor"), field(it, "changed_at"), field(it, "reason")]
    };
    let rows: Vec<_> = page["items"].as_array().into_iter().flatten().map(row).collect();
    table(&["switch", "state", "by", "since", "why"], &rows)
}
