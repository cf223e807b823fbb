//! `fermata runs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use fermata_engine::clock::Clock;
use serde_json::{Map, Value, json};

use super::api::{Api, ApiArgs};
use super::{Output, field, table};
use crate::process::{Exit, Trouble};

/// How often a bundle is asked for until all of it is sealed, and how long between.
const SEAL_PATIENCE: u32 = 20;
const SEAL_PAUSE: Duration = Duration::from_millis(500);

/// What can be done with commands and their runs.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List commands, newest first.
    #[command(after_help = "Examples:\n  fermata runs list\n  fermata runs list --state RUNNING,WAITING --limit 200")]
    List(ListArgs),
    /// Show a command with its steps and actions.
    #[command(after_help = "Example:\n  fermata runs show 0190… --json")]
    Show(OneArgs),
    /// Cancel a command: at once when it has not started, at its next checkpoint otherwise.
    #[command(after_help = "Example:\n  fermata runs cancel 0190… --reason 'wrong caption'")]
    Cancel(CancelArgs),
    /// Let a command go on that waits for the end of a takeover.
    #[command(after_help = "Example:\n  fermata runs resume 0190… --comment 'logged in by hand'")]
    Resume(ResumeArgs),
    /// Export what proves a command to somebody who has no database.
    #[command(
        after_help = "Example:\n  fermata runs export 0190… --out proof.json\n  node tests/audit/verify.mjs proof.json\n\n\
        Waits a few seconds until the newest audit rows are sealed. docs/audit.md says what the bundle shows."
    )]
    Export(ExportArgs),
}

/// Which command, and where it goes.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file; standard output when left out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    one: OneArgs,
}

/// Which commands.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Statuses, with commas between
    #[arg(long, value_name = "STATES")]
    state: Option<String>,
    /// The command type, such as flow.run
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,
    /// How many at most, 1 to 200
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// `next_cursor` of the page before
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Which command.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// The command
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    api: ApiArgs,
}

/// Which command, and why.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// For the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    one: OneArgs,
}

/// Which command, and what the person says.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// For the record
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// What the run gets to see, as JSON
    #[arg(long, value_name = "JSON", value_parser = json_value)]
    outputs: Option<Value>,
    #[command(flatten)]
    one: OneArgs,
}

pub(super) fn json_value(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

pub(super) async fn run(command: RunsCommand, out: Output) -> Result<Exit, Trouble> {
    match command {
        RunsCommand::List(args) => list(args, out).await,
        RunsCommand::Show(args) => show(args, out).await,
        RunsCommand::Cancel(args) => {
            let body = present([("reason", args.reason.map(Value::from))]);
            moved(args.one, "cancel", body, out).await
        }
        RunsCommand::Resume(args) => {
            let body = present([("comment", args.comment.map(Value::from)), ("outputs", args.outputs)]);
            moved(args.one, "resume", body, out).await
        }
        RunsCommand::Export(args) => export(args, out).await,
    }
}

/// An object of what was given.
pub(super) fn present<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<_, _>>())
}

/// A route below another, with the names in it escaped.
pub(super) fn route(base: &str, names: &[&str]) -> String {
    let mut url = reqwest::Url::parse(&format!("http://x{base}")).ok();
    if let Some(mut parts) = url.as_mut().and_then(|url| url.path_segments_mut().ok()) {
        parts.extend(names);
    }
    url.map(|url| url.path().to_owned()).unwrap_or_default()
}

/// A query of what was given. Values are escaped by `Url`.
pub(super) fn query(path: &str, fields: &[(&str, Option<String>)]) -> String {
    let given = fields.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    match reqwest::Url::parse_with_params("http://x", given) {
        Ok(url) => format!("{path}?{}", url.query().unwrap_or_default()),
        Err(_) => path.to_owned(),
    }
}

async fn list(args: ListArgs, out: Output) -> Result<Exit, Trouble> {
    let api = Api::find(&args.api)?;
    let fields =
        [("state", args.state), ("type", args.r#type), ("limit", Some(args.limit.to_string())), ("after", args.after)];
    let page = api.get(&query("/v1/commands", &fields)).await?;
    out.print(&page, || {
        let row = |it: &Value| {
            ["command_id", "status", "type", "client_id", "created_at"].map(|name| field(it, name)).to_vec()
        };
        let rows: Vec<_> = page["items"].as_array().into_iter().flatten().map(row).collect();
        let more = page["next_cursor"].as_str().map(|cursor| format!("\nmore: --after {cursor}")).unwrap_or_default();
        table(&["command", "status", "type", "client", "accepted"], &rows) + more.as_str()
    });
    Ok(Exit::Done)
}

async fn show(args: OneArgs, out: Output) -> Result<Exit, Trouble> {
    let api = Api::find(&args.api)?;
    let mut command = api.get(&format!("/v1/commands/{}", args.id)).await?;
    let steps = api.get(&format!("/v1/commands/{}/steps?limit=200", args.id)).await?;
    let actions = api.get(&format!("/v1/commands/{}/actions", args.id)).await?;
    command["steps"] = steps["items"].clone();
    command["actions"] = actions["items"].clone();
    out.print(&command, || text(&command));
    Ok(Exit::Done)
}

fn text(command: &Value) -> String {
    let mut lines: Vec<String> = ["command_id", "type", "client_id", "status", "wait_reason", "created_at", "ended_at"]
        .iter()
        .filter(|name| !command[**name].is_null())
        .map(|name| format!("{name:<12} {}", field(command, name)))
        .collect();
    for (name, value) in [("result", &command["result"]), ("error", &command["error"])] {
        if !value.is_null() {
            lines.push(format!("{name:<12} {value}"));
        }
    }
    let rows = |list: &str, names: &[&str]| -> Vec<Vec<String>> {
        let items = command[list].as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().map(|it| names.iter().map(|name| field(it, name)).collect()).collect()
    };
    let steps = rows("steps", &["key", "kind", "state", "attempt", "duration_ms", "epoch"]);
    if !steps.is_empty() {
        lines.push(format!("\n{}", table(&["step", "kind", "state", "attempt", "ms", "epoch"], &steps)));
    }
    let actions = rows("actions", &["action_id", "action_type", "state", "effect", "looks", "resends"]);
    if !actions.is_empty() {
        lines.push(format!("\n{}", table(&["action", "type", "state", "effect", "looks", "resends"], &actions)));
    }
    lines.join("\n")
}

async fn moved(one: OneArgs, verb: &str, body: Value, out: Output) -> Result<Exit, Trouble> {
    let api = Api::find(&one.api)?;
    let moved = api.post(&format!("/v1/commands/{}/{verb}", one.id), &body).await?;
    out.print(&moved, || format!("{}  {}", field(&moved, "command_id"), field(&moved, "status")));
    Ok(Exit::Done)
}

async fn export(args: ExportArgs, out: Output) -> Result<Exit, Trouble> {
    let api = Api::find(&args.one.api)?;
    let path = route("/v1/commands", &[&args.one.id, "proof"]);
    let clock = Clock::system();
    let mut bundle = api.get(&path).await?;
    for _ in 0..SEAL_PATIENCE {
        if bundle["unsealed"] == 0 {
            break;
        }
        clock.wait(SEAL_PAUSE).await;
        bundle = api.get(&path).await?;
    }
    match &args.out {
        Some(file) => {
            let text = format!("{bundle:#}\n");
            std::fs::write(file, text).map_err(|error| Trouble::file("cannot write", file, &error))?;
            let rows = bundle["audit"].as_array().into_iter().flatten().filter_map(|part| part["entries"].as_array());
            let rows = rows.flatten().filter(|entry| entry["text"].is_string()).count();
            let done = json!({ "file": file, "rows": rows, "unsealed": bundle["unsealed"] });
            out.print(&done, || format!("{}  {rows} audit rows", file.display()));
        }
        None => out.print(&bundle, || format!("{bundle:#}")),
    }
    if bundle["unsealed"] == 0 {
        return Ok(Exit::Done);
    }
    Err(Trouble::failed(format!("{} audit rows are not under a signed head", bundle["unsealed"]))
        .remedy("see that a worker runs, and try again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_escaped_in_a_route() {
        assert_eq!(route("/v1/kill-switches", &["clients", "acme"]), "/v1/kill-switches/clients/acme");
        assert_eq!(route("/v1/kill-switches", &["accounts", "a/b c?"]), "/v1/kill-switches/accounts/a%2Fb%20c%3F");
        assert_eq!(route("/v1/policies", &["account:acme/a b%2F"]), "/v1/policies/account:acme%2Fa%20b%252F");
    }

    #[test]
    fn a_query_holds_what_was_given_and_escapes_it() {
        let fields = [("a", Some("x&y".to_owned())), ("b", None)];
        assert_eq!(query("/p", &fields), "/p?a=x%26y");
        assert_eq!(present([("a", Some(json!(1))), ("b", None)]), json!({"a": 1}));
    }
}
