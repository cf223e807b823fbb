//! `fermata workflows`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::api::{Api, ApiArgs};
use super::{Output, field, table};
use crate::process::{Exit, Trouble};

/// What can be asked about workflows.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowsCommand {
    /// List the installed workflows.
    #[command(after_help = "Example:\n  fermata workflows list")]
    List(ListArgs),
    /// Show a workflow: its steps with their phases, and what it takes.
    #[command(after_help = "Examples:\n  fermata workflows show demo.publish\n  fermata workflows show demo.dm --json")]
    Show(ShowArgs),
}

/// Where to ask.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    api: ApiArgs,
}

/// Which workflow.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The workflow
    #[arg(value_name = "NAME", value_parser = workflow_name)]
    name: String,
    #[command(flatten)]
    api: ApiArgs,
}

/// A name goes into a path as it is.
fn workflow_name(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    let strange = || "a name has letters, digits, dots and underscores; `fermata workflows list` shows them".to_owned();
    if fits && !text.starts_with('.') { Ok(text.to_owned()) } else { Err(strange()) }
}

pub(super) async fn run(command: WorkflowsCommand, out: Output) -> Result<Exit, Trouble> {
    match command {
        WorkflowsCommand::List(args) => {
            let list = Api::find(&args.api)?.get("/v1/workflows").await?;
            out.print(&list, || names(&list));
        }
        WorkflowsCommand::Show(args) => {
            let workflow = Api::find(&args.api)?.get(&format!("/v1/workflows/{}", args.name)).await?;
            out.print(&workflow, || text(&workflow));
        }
    }
    Ok(Exit::Done)
}

fn names(list: &Value) -> String {
    let columns = ["name", "version", "kind", "lane", "platform", "title"];
    table(&columns, &rows(&list["items"], &columns))
}

fn text(workflow: &Value) -> String {
    let mut lines: Vec<String> =
        ["name", "version", "kind", "command_type", "lane", "platform", "title", "description"]
            .iter()
            .filter(|name| !workflow[**name].is_null())
            .map(|name| format!("{name:<13} {}", field(workflow, name)))
            .collect();
    let steps = rows(&workflow["steps"], &["id", "phase", "kind", "title"]);
    if steps.is_empty() {
        lines.push("\nIts code decides its steps as it runs.".to_owned());
    } else {
        lines.push(format!("\n{}", table(&["step", "phase", "kind", "title"], &steps)));
    }
    let inputs = inputs(&workflow["inputs"]);
    if !inputs.is_empty() {
        lines.push(format!("\n{}", table(&["input", "type", "required", "default", "description"], &inputs)));
    }
    lines.join("\n")
}

fn rows(list: &Value, columns: &[&str]) -> Vec<Vec<String>> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|it| columns.iter().map(|name| field(it, name)).collect()).collect()
}

fn inputs(schema: &Value) -> Vec<Vec<String>> {
    let required = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|it| it == name));
    let properties = schema["properties"].as_object().into_iter().flatten();
    let row = |(name, property): (&String, &Value)| {
        let is_required = if required(name) { "yes" } else { "" };
        vec![
            name.clone(),
            type_of(property),
            is_required.to_owned(),
            field(property, "default"),
            field(property, "description").replace('\n', " "),
        ]
    };
    properties.map(row).collect()
}

/// A property's type in a word or two.
fn type_of(property: &Value) -> String {
    match (&property["type"], property["enum"].as_array()) {
        (Value::String(name), _) => name.clone(),
        (Value::Array(names), _) => {
            let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            names.collect::<Vec<_>>().join("|")
        }
        (_, Some(words)) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
        _ => "object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_flow_is_shown_with_the_phase_of_each_step() {
        let flow = json!({"name": "demo.x", "version": "1", "kind": "flow", "lane": "api",
            "steps": [{"id": "look", "title": "Look", "kind": "http", "phase": "extract"},
                      {"id": "post", "title": "Post", "kind": "effect", "phase": "act"}],
            "inputs": {"type": "object", "required": ["to"], "properties": {
                "to": {"type": "string"}, "how": {"enum": ["a", "b"], "default": "a"}}}});
        let text = text(&flow);
        for line in ["look  extract  http    Look", "post  act      effect  Post", "to     string  yes", "how    a|b"] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_name_that_is_no_name_never_becomes_a_path() {
        for bad in ["", "a/b", "..", "a?b", "ä"] {
            assert!(workflow_name(bad).is_err(), "{bad}");
        }
        assert!(workflow_name("demo.http_publish").is_ok());
    }
}
