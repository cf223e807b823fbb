//! `fermata audit`: search the trail, and verify it, also with the API down.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use fermata_engine::access::Principal;
use fermata_engine::audit::SignedHead;
use serde_json::{Value, json};

use super::api::{Api, ApiArgs};
use super::desk::Desk;
use super::runs::query;
use super::{Output, field, table};
use crate::audit::signing_key;
use crate::process::{Exit, Trouble};

/// What can be done with the audit trail.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Look at every row and every link, and at heads that were kept elsewhere.
    #[command(after_help = "Examples:\n  fermata audit verify --heads .fermata/audit-heads.ndjson\n  \
        fermata audit verify --heads heads.ndjson --key 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo --json\n\n\
        Without heads from outside of the database nobody can see that the end of a chain was cut off or written anew. \
        Without --key every key counts whose signature fits.\nExit code 0: nothing is wrong; 1: something is.")]
    Verify(VerifyArgs),
    /// Search, newest first.
    #[command(after_help = "Examples:\n  fermata audit list --phase attempted --account shop\n  \
        fermata audit list --run 0190… --json")]
    List(ListArgs),
    /// Show the public key of the file that signs heads.
    #[command(after_help = "Example:\n  fermata audit key .fermata/audit-key.pem")]
    Key(KeyArgs),
}

/// What the trail is compared with.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A file of signed heads, a line each; may be given again
    #[arg(long, value_name = "FILE")]
    heads: Vec<PathBuf>,
    /// A public key whose heads count; may be given again
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Which events.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// About this command
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// About this action
    #[arg(long, value_name = "ID")]
    action: Option<String>,
    /// By this actor
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Phases, with commas between
    #[arg(long, value_name = "PHASES")]
    phase: Option<String>,
    /// For this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How many at most, 1 to 200
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// `next_cursor` of the page before
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The key file; made when it is not there
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) async fn run(command: AuditCommand, out: Output) -> Result<Exit, Trouble> {
    match command {
        AuditCommand::Verify(args) => verify(args, out).await,
        AuditCommand::List(args) => list(args, out).await,
        AuditCommand::Key(args) => {
            let key = signing_key(&args.file)?;
            let shown = json!({ "key_id": key.id(), "public_key": key.public() });
            out.print(&shown, || key.public());
            Ok(Exit::Done)
        }
    }
}

async fn verify(args: VerifyArgs, out: Output) -> Result<Exit, Trouble> {
    let mut heads = Vec::new();
    for file in &args.heads {
        heads.extend(read_heads(file)?);
    }
    let desk = Desk::find(&args.api).await?;
    let answer = match &desk {
        Desk::Database(engine) => {
            let verified = engine.verify_audit(&Principal::operator(), heads, &args.key).await;
            verified.map(|found| json!(found)).map_err(Trouble::from)
        }
        Desk::Api(api) => api.post("/v1/audit/verify", &json!({ "heads": heads, "trusted_keys": args.key })).await,
    };
    desk.close().await;
    let found = answer?;
    out.print(&found, || verdict(&found));
    Ok(if found["ok"] == true { Exit::Done } else { Exit::Failed })
}

fn read_heads(file: &Path) -> Result<Vec<SignedHead>, Trouble> {
    let text = std::fs::read_to_string(file).map_err(|error| Trouble::file("cannot read", file, &error))?;
    let read = |(n, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| {
            let what = format!("line {} of {} is no signed head", n + 1, file.display());
            Trouble::new(Exit::Usage, what).why(error.to_string())
        })
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(read).collect()
}

fn verdict(found: &Value) -> String {
    let count = |name: &str| found[name].as_u64().unwrap_or(0);
    let unsealed = count("rows").saturating_sub(count("sealed"));
    let mut lines = vec![format!(
        "{} rows, {} sealed in {} chains, {unsealed} not sealed yet; {} signed heads compared",
        count("rows"),
        count("sealed"),
        count("clients"),
        count("heads")
    )];
    for finding in found["findings"].as_array().into_iter().flatten() {
        let at = finding["position"].as_i64().map(|at| format!(" at {at}")).unwrap_or_default();
        let of = finding["client_id"].as_str().map(|client| format!(" of {client}")).unwrap_or_default();
        lines.push(format!("{}{at}{of}: {}", field(finding, "kind"), field(finding, "message")));
    }
    lines.push(match count("wrong") {
        0 if count("heads") == 0 => "nothing is wrong; without signed heads a cut tail would not be seen".to_owned(),
        0 => "nothing is wrong".to_owned(),
        wrong => format!("{wrong} things are wrong: somebody has changed the audit trail"),
    });
    lines.join("\n")
}

async fn list(args: ListArgs, out: Output) -> Result<Exit, Trouble> {
    let fields = [
        ("command_id", args.run),
        ("action_id", args.action),
        ("actor", args.actor),
        ("phase", args.phase),
        ("account_id", args.account),
        ("since", args.since),
        ("until", args.until),
        ("limit", Some(args.limit.to_string())),
        ("after", args.after),
    ];
    let page = Api::find(&args.api)?.get(&query("/v1/audit", &fields)).await?;
    out.print(&page, || {
        let row = |it: &Value| {
            let status = it.pointer("/result/status").and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut cells = ["timestamp", "client_id", "actor", "phase", "platform_account_id"]
                .map(|name| field(it, name))
                .to_vec();
            cells.push(status);
            cells
        };
        let rows: Vec<_> = page["items"].as_array().into_iter().flatten().map(row).collect();
        let more = page["next_cursor"].as_str().map(|cursor| format!("\nmore: --after {cursor}")).unwrap_or_default();
        table(&["when", "client", "by", "phase", "account", "result"], &rows) + more.as_str()
    });
    Ok(Exit::Done)
}
