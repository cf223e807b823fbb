//! `fermata policy`: put documents in force, read them, and ask what they would say; over the API.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{Api, ApiArgs};
use super::runs::{query, route};
use super::submit::read;
use super::{Output, field, table};
use crate::process::{Exit, Trouble};

/// Where policies are.
const POLICIES: &str = "/v1/policies";

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Put a document in force.
    #[command(after_help = "Examples:\n  fermata policy put client:acme acme.yaml\n  \
        fermata policy put account:acme/shop shop.json --if-version 3\n\nScopes: global, platform:NAME, client:NAME, \
        account:CLIENT/NAME. The document is JSON or YAML; docs/policies.md explains it.")]
    Put(PutArgs),
    /// List the policies in force.
    List(ListArgs),
    /// Show a scope's document, as JSON.
    #[command(after_help = "Example:\n  fermata policy show client:acme --version 2 > acme.json")]
    Show(ShowArgs),
    /// Say what would become of an action, or of every action of a flow, and why; nothing is done.
    #[command(after_help = "Examples:\n  fermata policy evaluate --platform demo --account shop --action publish \
        --payload '{\"text\": \"hello\"}'\n  fermata policy evaluate --flow demo.http_publish --inputs inputs.json\n  \
        echo '{\"caption\": \"hello\"}' | fermata policy evaluate --flow my_flow.yaml --inputs -\n\n\
        Exit code 0: allowed; 9: a person is asked; 7: something waits or is blocked.")]
    Evaluate(EvaluateArgs),
}

/// Which document, and where it goes.
#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// Whom it is about
    #[arg(value_name = "SCOPE")]
    scope: String,
    /// The document; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only on top of this version; 0 for the first one
    #[arg(long, value_name = "N")]
    if_version: Option<u32>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Where the policies are.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    api: ApiArgs,
}

/// Which document.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Whom it is about
    #[arg(value_name = "SCOPE")]
    scope: String,
    /// Which version; the one in force when left out
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Which action, or which flow.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// For this client; the token's when left out
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// On this platform
    #[arg(long, value_name = "NAME", required_unless_present = "flow")]
    platform: Option<String>,
    /// For this account
    #[arg(long, value_name = "NAME", required_unless_present = "flow")]
    account: Option<String>,
    /// What is done: publish, `dm_send`, ...
    #[arg(long, value_name = "TYPE", required_unless_present = "flow")]
    action: Option<String>,
    /// What it would carry
    #[arg(long, value_name = "JSON", default_value = "{}")]
    payload: String,
    /// Instead of one action: an installed flow, or the file of one (with a / in it, or .yaml, .yml or .json at its end)
    #[arg(long, value_name = "NAME|FILE", conflicts_with_all = ["platform", "account", "action", "payload"])]
    flow: Option<String>,
    /// What the flow takes, as JSON or YAML; - for standard input
    #[arg(long, value_name = "FILE|-", requires = "flow")]
    inputs: Option<PathBuf>,
    /// At this time (RFC 3339); now when left out
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(command: PolicyCommand, out: Output) -> Result<Exit, Trouble> {
    match command {
        PolicyCommand::Put(args) => {
            let document = read(&args.file)?;
            let path = query(
                &route(POLICIES, &[&args.scope]),
                &[("if_version", args.if_version.map(|version| version.to_string()))],
            );
            let put = Api::find(&args.api)?.put(&path, &document).await?;
            out.print(&put, || format!("{}  version {}", field(&put, "scope"), field(&put, "version")));
            Ok(Exit::Done)
        }
        PolicyCommand::List(args) => {
            let page = Api::find(&args.api)?.get(POLICIES).await?;
            out.print(&page, || listed(&page));
            Ok(Exit::Done)
        }
        PolicyCommand::Show(args) => {
            let path = query(
                &route(POLICIES, &[&args.scope]),
                &[("version", args.version.map(|version| version.to_string()))],
            );
            let policy = Api::find(&args.api)?.get(&path).await?;
            out.print(&policy, || format!("{:#}", policy["document"]));
            Ok(Exit::Done)
        }
        PolicyCommand::Evaluate(args) => evaluate(args, out).await,
    }
}

async fn evaluate(args: EvaluateArgs, out: Output) -> Result<Exit, Trouble> {
    let mut ask = if let Some(flow) = &args.flow {
        of_flow(flow, args.inputs.as_deref())?
    } else {
        let payload: Value = serde_json::from_str(&args.payload)
            .map_err(|error| Trouble::new(Exit::Usage, "--payload is not JSON").why(error.to_string()))?;
        json!({
            "platform": args.platform, "account_id": args.account, "action_type": args.action, "payload": payload,
        })
    };
    for (name, value) in [("client_id", args.client), ("at", args.at)] {
        if let Some(value) = value {
            ask[name] = value.into();
        }
    }
    let said = Api::find(&args.api)?.post("/v1/policies/evaluate", &ask).await?;
    let verdict = &said["verdict"];
    out.print(&said, || {
        let all = format!("{}  {}\n{}", field(verdict, "decision"), field(verdict, "rule"), field(verdict, "reason"));
        if args.flow.is_some() { format!("{}\n\n{all}", foreseen(&said)) } else { all }
    });
    Ok(match verdict["decision"].as_str() {
        Some("allow") => Exit::Done,
        Some("approve") => Exit::Waiting,
        _ => Exit::Blocked,
    })
}

/// What is asked about a flow: a name, or the document in a file.
fn of_flow(flow: &str, inputs: Option<&Path>) -> Result<Value, Trouble> {
    let is_file = flow.contains('/') || [".yaml", ".yml", ".json"].iter().any(|end| flow.ends_with(end));
    let inputs = inputs.map_or_else(|| Ok(json!({})), read)?;
    Ok(if is_file {
        json!({"flow": read(Path::new(flow))?, "inputs": inputs})
    } else {
        json!({"workflow_name": flow, "inputs": inputs})
    })
}

/// A flow's actions as a table, and below it what only the run will know.
fn foreseen(said: &Value) -> String {
    let actions = said["actions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if actions.is_empty() {
        return "It does nothing outside.".to_owned();
    }
    let row = |it: &Value| {
        let verdict = &it["verdict"];
        let decision = if verdict.is_null() { "?".to_owned() } else { field(verdict, "decision") };
        let mut row = ["step", "action_type", "platform", "account_id"].map(|name| field(it, name)).to_vec();
        row.extend([field(it, "reached"), decision, field(verdict, "rule"), field(verdict, "until")]);
        row
    };
    let columns = ["step", "action", "platform", "account", "reached", "verdict", "rule", "until"];
    let mut lines = vec![table(&columns, &actions.iter().map(row).collect::<Vec<_>>())];
    let words =
        |list: &Value| list.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    for it in actions {
        let step = field(it, "step");
        let stands = it["verdict"]["decision"] != "allow";
        let why = if stands { field(&it["verdict"], "reason") } else { String::new() };
        for (what, said) in [
            ("why", why),
            ("on condition that", words(&it["conditions"])),
            ("not known before the run", words(&it["not_known"])),
            ("would fail", field(it, "failure")),
        ] {
            if !said.is_empty() {
                lines.push(format!("{step}: {what}: {said}"));
            }
        }
    }
    let unseen = words(&said["unseen"]);
    if !unseen.is_empty() {
        lines.push(format!("not looked into, for they start another workflow: {unseen}"));
    }
    lines.join("\n")
}

fn listed(page: &Value) -> String {
    let row = |it: &Value| ["scope", "version", "actor", "changed_at"].map(|name| field(it, name)).to_vec();
    let rows: Vec<_> = page["items"].as_array().into_iter().flatten().map(row).collect();
    table(&["scope", "version", "by", "since"], &rows)
}
