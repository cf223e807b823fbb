//! `fermata watch`.

use std::time::Duration;

use clap::Args;
use fermata_engine::clock::Clock;
use serde_json::Value;

use super::api::{Api, ApiArgs, is_blocked};
use super::{Output, field};
use crate::process::{Exit, Trouble, say};

/// How often the command is looked at.
const LOOK: Duration = Duration::from_millis(150);

const EXAMPLES: &str = "\
Examples:
  fermata watch 0190…               each change of status as it happens
  fermata watch 0190… --until-wait  ends with 9 when a person is needed

Ends with 0 when it succeeded, 1 when it failed or was cancelled, 7 when a policy, a budget or a kill
switch stopped it, 8 when nobody can tell whether its effect happened, 9 when it waits for a person
(with --until-wait).";

/// What to follow.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArgs {
    /// The command
    #[arg(value_name = "ID")]
    id: String,
    /// End when it waits for a person, too
    #[arg(long)]
    until_wait: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(args: WatchArgs, out: Output) -> Result<Exit, Trouble> {
    let api = Api::find(&args.api)?;
    follow(&api, &args.id, args.until_wait, out).await
}

/// Prints each change of status until the command ends, and says how it did.
pub(super) async fn follow(api: &Api, id: &str, until_wait: bool, out: Output) -> Result<Exit, Trouble> {
    let clock = Clock::system();
    let mut seen = 0;
    loop {
        let command = api.get(&format!("/v1/commands/{id}")).await?;
        let lifecycle = command["lifecycle"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !out.json {
            for change in lifecycle.get(seen..).unwrap_or_default() {
                let reason = field(change, "reason");
                let reason = if reason.is_empty() { reason } else { format!("  ({reason})") };
                say(format_args!("{}  {}{reason}", field(change, "at"), field(change, "status")));
            }
        }
        seen = seen.max(lifecycle.len());
        let exit = match field(&command, "status").as_str() {
            "HUMAN_REQUIRED" if until_wait => Some(waiting(api, id).await?),
            status => outcome(status, &command),
        };
        if let Some(exit) = exit {
            out.print(&command, || ending(&command));
            return Ok(exit);
        }
        clock.wait(LOOK).await;
    }
}

/// How it ended, if it has.
fn outcome(status: &str, command: &Value) -> Option<Exit> {
    match status {
        "SUCCEEDED" => Some(Exit::Done),
        "FAILED" if command["error"]["code"] == "outcome_unknown" => Some(Exit::Unknown),
        "FAILED" if is_blocked(&field(&command["error"], "code")) => Some(Exit::Blocked),
        "FAILED" | "CANCELLED" => Some(Exit::Failed),
        _ => None,
    }
}

/// A person is asked either for a decision or for what nobody can tell.
async fn waiting(api: &Api, id: &str) -> Result<Exit, Trouble> {
    let gates = api.get(&format!("/v1/commands/{id}/gates?state=open")).await?;
    let unknown =
        gates["items"].as_array().is_some_and(|all| all.iter().any(|gate| gate["reason"] == "outcome_unknown"));
    Ok(if unknown { Exit::Unknown } else { Exit::Waiting })
}

fn ending(command: &Value) -> String {
    match (&command["result"], &command["error"]) {
        (Value::Null, Value::Null) => "a person is needed: fermata gates list".to_owned(),
        (Value::Null, error) => format!("{}: {}", field(error, "code"), field(error, "message")),
        (result, _) => format!("{result:#}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_ending_has_its_exit_code() {
        let unknown = json!({"error": {"code": "outcome_unknown"}});
        assert_eq!(outcome("SUCCEEDED", &Value::Null), Some(Exit::Done));
        assert_eq!(outcome("FAILED", &Value::Null), Some(Exit::Failed));
        let stopped = json!({"error": {"code": "kill_switch"}});
        assert_eq!(outcome("FAILED", &unknown), Some(Exit::Unknown));
        assert_eq!(outcome("FAILED", &stopped), Some(Exit::Blocked));
        assert_eq!(outcome("CANCELLED", &Value::Null), Some(Exit::Failed));
        assert_eq!(outcome("HUMAN_REQUIRED", &Value::Null), None);
    }
}
