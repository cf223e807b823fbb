//! Whether everything that templates name is there, and may be named where it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::flow::document::{Action, BrowserAct, Call, FlowDocument, LookFor, Step};
use crate::flow::finding::{Finding, below};
use crate::flow::template::{Place, Template};

/// The names under `run`.
pub(in crate::flow) const RUN_NAMES: [&str; 2] = ["id", "client"];

/// The parts of an effect that may differ between two tries of the same.
const EFFECT_ACTS: [&str; 5] = ["identity", "look", "surface", "prepare", "call"];

/// The parts of a request that may carry the value of an unrecorded step. Not its address: hosts
/// are named in errors.
const CARRIERS: [&str; 5] = ["headers", "query", "json", "form", "body"];

/// Checks every template of the document. With `sites`, only names of sites are checked.
pub(super) fn check(document: &FlowDocument, sites: Option<&BTreeSet<&str>>, findings: &mut Vec<Finding>) {
    let mut names = Names { document, sites, steps: BTreeMap::new(), secrets: BTreeSet::new(), findings };
    names.defaults();
    for (n, step) in document.steps.iter().enumerate() {
        let pointer = below("/steps", &n.to_string());
        // A step's types write back what they read; where they could not there is nothing to check.
        let written = serde_json::to_value(step).unwrap_or_default();
        for (field, value) in written.as_object().into_iter().flatten() {
            names.field(field, value, &below(&pointer, field));
        }
        names.steps.insert(&step.id, results(step));
        if matches!(&step.action, Action::Http(call) if !call.record) {
            names.secrets.insert(&step.id);
        }
    }
    names.walk(&document.outputs, "/outputs", May { env: true, effect: false, permalink: false });
}

/// What a template may name in a place.
#[derive(Clone, Copy)]
struct May {
    /// The installation's sites, which differ between installations and starts.
    env: bool,
    /// The effect's key.
    effect: bool,
    /// The permalink of its receipt.
    permalink: bool,
}

struct Names<'d> {
    document: &'d FlowDocument,
    sites: Option<&'d BTreeSet<&'d str>>,
    /// The results of the steps so far; `None` where any name may be in them.
    steps: BTreeMap<&'d str, Option<BTreeSet<String>>>,
    /// The steps so far whose values are in no record.
    secrets: BTreeSet<&'d str>,
    findings: &'d mut Vec<Finding>,
}

impl Names<'_> {
    fn field(&mut self, field: &str, value: &Value, pointer: &str) {
        if field != "effect" {
            let env = matches!(field, "http" | "browser");
            return self.walk(value, pointer, May { env, effect: false, permalink: false });
        }
        for (part, value) in value.as_object().into_iter().flatten() {
            let acts = EFFECT_ACTS.contains(&part.as_str());
            self.walk(value, &below(pointer, part), May { env: acts, effect: acts, permalink: part == "surface" });
        }
    }

    /// Defaults of inputs are filled before there are inputs.
    fn defaults(&mut self) {
        let document = self.document;
        let properties = document.inputs.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            let Some(default) = property.get("default") else {
                continue;
            };
            let pointer = below(&below("/inputs/properties", name), "default");
            for (pointer, place) in places(default, &pointer, self.findings) {
                if place.path.first().is_none_or(|root| root != "run") {
                    self.refuse(&pointer, &place, "a default can only name `run.id` and `run.client`");
                } else {
                    self.run(&place, &pointer);
                }
            }
        }
    }

    fn walk(&mut self, value: &Value, pointer: &str, may: May) {
        for (pointer, place) in places(value, pointer, self.findings) {
            self.place(&place, &pointer, may);
        }
    }

    fn place(&mut self, place: &Place, pointer: &str, may: May) {
        match place.path.first().map_or("", String::as_str) {
            "inputs" => self.input(place, pointer),
            "steps" => self.step(place, pointer),
            "run" => self.run(place, pointer),
            "env" if may.env => self.site(place, pointer),
            "env" => self.refuse(
                pointer,
                place,
                "addresses differ between starts, so they belong only into requests and acts; name an input instead",
            ),
            "effect" if may.effect && place.dotted() == "effect.key" => {}
            "effect" if may.permalink && place.dotted() == "effect.permalink" => {}
            "effect" => {
                self.refuse(pointer, place, "only `effect.key` in an effect's identity, look, surface, prepare and call, and `effect.permalink` in its surface");
            }
            "targets" => {
                self.refuse(pointer, place, "a target stands for itself: write the template alone, without filters");
            }
            _ => self.refuse(pointer, place, "begin with inputs, steps, run, env or effect"),
        }
    }

    fn input(&mut self, place: &Place, pointer: &str) {
        let Some(name) = place.path.get(1) else {
            return;
        };
        let schema = &self.document.inputs;
        let known = schema.get("properties").and_then(|properties| properties.get(name)).is_some();
        let open = matches!(schema.get("additionalProperties"), Some(Value::Bool(true) | Value::Object(_)));
        if !known && !open {
            self.refuse(pointer, place, "describe it under `inputs.properties`, or correct its name");
        }
    }

    fn step(&mut self, place: &Place, pointer: &str) {
        let Some(id) = place.path.get(1) else {
            return self.refuse(pointer, place, "name a step: `steps.<id>`");
        };
        match (self.steps.get(id.as_str()), place.path.get(2)) {
            (None, _) => self.refuse(pointer, place, "name a step that comes before this one"),
            (Some(Some(results)), Some(name)) if !results.contains(name) => {
                let known: Vec<&str> = results.iter().map(String::as_str).collect();
                let remedy = if known.is_empty() {
                    "that step has no results".to_owned()
                } else {
                    format!("that step has {}", known.join(", "))
                };
                self.refuse(pointer, place, &remedy);
            }
            _ if self.secrets.contains(id.as_str()) && !may_carry(pointer) => {
                let remedy = "that step is not recorded, so its values belong only into headers, query, json, form \
                              and body of requests and into text typed into a page; or record it";
                self.refuse(pointer, place, remedy);
            }
            _ => {}
        }
    }

    fn run(&mut self, place: &Place, pointer: &str) {
        let known = place.path.len() == 2 && place.path.get(1).is_some_and(|name| RUN_NAMES.contains(&name.as_str()));
        if !known {
            self.refuse(pointer, place, "a run has `run.id` and `run.client`");
        }
    }

    fn site(&mut self, place: &Place, pointer: &str) {
        let name = place.path.get(1).map(String::as_str);
        if place.path.len() != 2 {
            return self.refuse(pointer, place, "name a site: `env.<site>`");
        }
        let (Some(name), Some(sites)) = (name, self.sites) else {
            return;
        };
        if !sites.contains(name) {
            let known: Vec<&str> = sites.iter().copied().collect();
            self.findings.push(Finding::error(
                pointer,
                format!("this installation has no site `{name}`"),
                format!("add it to the configuration, or name one of: {}", known.join(", ")),
            ));
        }
    }

    fn refuse(&mut self, pointer: &str, place: &Place, remedy: &str) {
        if self.sites.is_none() {
            self.findings.push(Finding::error(pointer, format!("`{}` cannot be named here", place.dotted()), remedy));
        }
    }
}

/// Whether a place of the document may be filled with what is in no record.
fn may_carry(pointer: &str) -> bool {
    let names: Vec<&str> = pointer.split('/').skip(1).collect();
    match names.as_slice() {
        ["steps", _, "http", part, ..]
        | ["steps", _, "effect", "identity", part, ..]
        | ["steps", _, "effect", "look", "http", "request", part, ..]
        | ["steps", _, "effect", "surface", "request", part, ..]
        | ["steps", _, "effect", "call", "http", part, ..] => CARRIERS.contains(part),
        ["steps", _, "browser", "do", _, act, field, ..]
        | ["steps", _, "effect", "prepare", _, act, field, ..]
        | ["steps", _, "effect", "look", "browser", "do", _, act, field, ..] => (*act, *field) == ("fill", "text"),
        _ => false,
    }
}

/// Every place in the texts of a value, with a pointer; what is no template becomes a finding.
fn places(value: &Value, pointer: &str, findings: &mut Vec<Finding>) -> Vec<(String, Place)> {
    let mut found = Vec::new();
    gather(value, pointer, &mut found, findings);
    found
}

fn gather(value: &Value, pointer: &str, found: &mut Vec<(String, Place)>, findings: &mut Vec<Finding>) {
    match value {
        Value::String(text) if Template::is_in(text) => match Template::parse(text) {
            Ok(template) => found.extend(template.places().map(|place| (pointer.to_owned(), place.clone()))),
            Err(error) => {
                let remedy = "write `${path}` or `${path | filter}`; a plain `${` is written `$${`";
                findings.push(Finding::error(pointer, error.to_string(), remedy));
            }
        },
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                gather(item, &below(pointer, &n.to_string()), found, findings);
            }
        }
        Value::Object(fields) => {
            for (name, item) in fields {
                if Template::is_in(name) {
                    findings.push(Finding::error(pointer, "keys are not templates", "put the template into the value"));
                }
                gather(item, &below(pointer, name), found, findings);
            }
        }
        _ => {}
    }
}

/// The names in a step's result; `None` where it may have any.
fn results(step: &Step) -> Option<BTreeSet<String>> {
    let names: Vec<&str> = match &step.action {
        Action::Http(call) => call.save.keys().map(String::as_str).chain(["status"]).collect(),
        Action::Browser(browser) => browser.acts.iter().filter_map(BrowserAct::saves).collect(),
        Action::Effect(effect) => {
            let looked: Vec<&str> = match &effect.look {
                Some(LookFor::Http(look)) => look.request.save.keys().map(String::as_str).collect(),
                Some(LookFor::Browser(look)) => look.receipt.keys().map(String::as_str).collect(),
                None => Vec::new(),
            };
            match &effect.call {
                Call::Http(call) => call.save.keys().map(String::as_str).chain(looked).collect(),
                Call::Browser(call) => call.receipt.keys().map(String::as_str).chain(looked).collect(),
            }
        }
        Action::Human(_) => vec!["approved", "actor", "comment", "outputs"],
        Action::Set(set) => set.values.keys().map(String::as_str).collect(),
        Action::Sleep(_) => Vec::new(),
        Action::WaitSignal(_) | Action::Child(_) => return None,
    };
    Some(names.into_iter().map(str::to_owned).collect())
}
