//! `fermata submit`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::api::{Api, ApiArgs};
use super::{Output, field, watch};
use crate::process::{Exit, Trouble};

const EXAMPLES: &str = "\
Examples:
  fermata submit command.json
  echo '{\"type\":\"flow.run\",\"payload\":{\"workflow_name\":\"demo.http_publish\",
        \"inputs\":{\"caption\":\"hello\"}}}' | fermata submit - --watch";

/// What is submitted, and whether to stay.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SubmitArgs {
    /// The command as JSON (or YAML); `-` reads it from standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// The same key and content is the same command
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Check only: nothing is queued
    #[arg(long)]
    dry_run: bool,
    /// Follow it until it ends; the exit code is then that of `fermata watch`
    #[arg(long, conflicts_with = "dry_run")]
    watch: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(args: SubmitArgs, out: Output) -> Result<Exit, Trouble> {
    let mut body = read(&args.file)?;
    let Some(command) = body.as_object_mut() else {
        return Err(Trouble::failed("a command is a JSON object").remedy("see `fermata submit --help`"));
    };
    if let Some(key) = args.idempotency_key {
        command.insert("idempotency_key".to_owned(), key.into());
    }
    if args.dry_run {
        command.insert("dry_run".to_owned(), json!(true));
    }
    let api = Api::find(&args.api)?;
    let accepted = api.post("/v1/commands", &body).await?;
    if args.dry_run {
        out.print(&accepted, || "it would be accepted".to_owned());
        return Ok(Exit::Done);
    }
    let id = field(&accepted, "command_id");
    if args.watch {
        return watch::follow(&api, &id, false, out).await;
    }
    out.print(&accepted, || format!("{id}  {}\nfollow it: fermata watch {id}", field(&accepted, "status")));
    Ok(Exit::Done)
}

/// A file, or standard input, of JSON or YAML.
pub(super) fn read(file: &Path) -> Result<Value, Trouble> {
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|error| Trouble::file("cannot read", file, &error))?;
    // JSON is YAML, but says better what is wrong with it.
    let parsed = serde_json::from_str(&text).map_err(|error| error.to_string());
    let parsed = if text.trim_start().starts_with('{') {
        parsed
    } else {
        serde_yaml_ng::from_str(&text).map_err(|error| error.to_string())
    };
    parsed.map_err(|why| Trouble::failed(format!("{} is neither JSON nor YAML", file.display())).why(why))
}
