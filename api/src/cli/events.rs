//! `fermata events`: the stream, line by line.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{Api, ApiArgs};
use super::stream::Stream;
use super::{Output, field};
use crate::process::{Exit, Trouble, say};

const EXAMPLES: &str = "\
Examples:
  fermata events tail                              what happens from now on
  fermata events tail --after earliest --once      everything that is kept, then end
  fermata events tail --after AQAAAAEA… --json     go on behind a cursor; one event a line
  fermata events tail --type human.required        only that

A lost connection is opened again, and goes on behind the last event that was printed.";

/// What to do with events.
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Follow the stream.
    Tail(TailArgs),
}

/// What to follow.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TailArgs {
    /// Where to begin: `latest`, `earliest`, or the cursor of the last event that was seen
    #[arg(long, value_name = "CURSOR", default_value = "latest")]
    after: String,
    /// Only about this command
    #[arg(long, value_name = "ID")]
    command: Option<String>,
    /// Only about commands for this account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Only about commands of this session
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// Only of this client
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Only of these types, such as `status.changed`; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<String>,
    /// Only at least this severe
    #[arg(long, value_name = "SEVERITY", value_parser = ["debug", "info", "warn", "error"])]
    min_severity: Option<String>,
    /// End when everything that was there at the start has been printed
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(command: EventsCommand, out: Output) -> Result<Exit, Trouble> {
    match command {
        EventsCommand::Tail(args) => tail(args, out).await,
    }
}

async fn tail(args: TailArgs, out: Output) -> Result<Exit, Trouble> {
    let api = Api::find(&args.api)?;
    let mut stream = Stream::open(&api, filter(&args), &args.after).await?;
    loop {
        let frame = stream.next().await?;
        if frame["op"] == "event" {
            let event = &frame["event"];
            if out.json {
                say(event);
            } else {
                say(line(event));
            }
        } else if args.once {
            return Ok(Exit::Done);
        }
    }
}

/// The filter as the stream wants it: what was not given is left out.
fn filter(args: &TailArgs) -> Value {
    let mut filter = json!({
        "command_id": args.command,
        "account_id": args.account,
        "session_id": args.session,
        "client_id": args.client,
        "min_severity": args.min_severity,
    });
    if let Some(members) = filter.as_object_mut() {
        members.retain(|_, value| !value.is_null());
        if !args.types.is_empty() {
            members.insert("types".to_owned(), json!(args.types));
        }
    }
    filter
}

/// One event for people: when, how severe, what, about which command, and its data.
fn line(event: &Value) -> String {
    let (time, severity, kind) = (field(event, "time"), field(event, "severity"), field(event, "type"));
    let time = time.get(11..23).unwrap_or(&time).to_owned();
    format!("{time}  {severity:<5}  {kind:<18}  {}  {}", field(event, "subject"), event["data"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_what_and_about_which_command() {
        let event = json!({
            "time": "2026-11-21T12:00:00.123456Z", "severity": "info", "type": "status.changed",
            "subject": "0190", "data": {"from": null, "to": "QUEUED"},
        });
        assert_eq!(line(&event), "12:00:00.123  info   status.changed      0190  {\"from\":null,\"to\":\"QUEUED\"}");
    }
}
