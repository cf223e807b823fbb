//! The linter: what the types of a flow document cannot say.
//!
//! [`lint`] needs only the document; [`lint_sites`] and [`lint_words`] also know what the installation has.
//! Rules about single steps are in `rules`, those about what templates name in `references`.

mod references;
mod rules;

use std::collections::BTreeSet;

use fermata_engine::effect::Vocabulary;

use super::document::{Action, FlowDocument};
use super::finding::{Finding, below};
use super::inputs::lint_schema;
use super::limits::{MAX_FINDINGS, MAX_FLOW_STEPS, MAX_NAME_BYTES, MAX_TARGETS, MAX_VERSION_BYTES};

/// Judges a document. Errors refuse it; warnings say what may surprise.
pub fn lint(document: &FlowDocument) -> Vec<Finding> {
    let mut findings = Vec::new();
    head(document, &mut findings);
    lint_schema(&document.inputs, &mut findings);
    offer(document, &mut findings);
    let mut seen = BTreeSet::new();
    for (n, step) in document.steps.iter().enumerate() {
        let pointer = below("/steps", &n.to_string());
        if !is_word(&step.id) {
            findings.push(Finding::error(
                below(&pointer, "id"),
                format!("`{}` is not a name for a step", step.id),
                "write lower-case letters, digits and underscores, a letter first",
            ));
        }
        if !seen.insert(step.id.as_str()) {
            let message = format!("there is another step `{}`", step.id);
            findings.push(Finding::error(below(&pointer, "id"), message, "give each step its own id"));
        }
        rules::step(document, step, &pointer, &mut findings);
    }
    references::check(document, None, &mut findings);
    findings.truncate(MAX_FINDINGS);
    findings
}

/// What a document names that this installation does not have.
pub fn lint_sites(document: &FlowDocument, sites: &BTreeSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    references::check(document, Some(sites), &mut findings);
    findings.truncate(MAX_FINDINGS);
    findings
}

/// What a document would do under words that this installation does not know.
pub fn lint_words(document: &FlowDocument, known: &Vocabulary) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(unknown) = known.check_platform(&document.platform) {
        let remedy = "name one of them; another platform comes with an installed flow";
        findings.push(Finding::error("/platform", unknown.to_string(), remedy));
    }
    findings
}

fn head(document: &FlowDocument, findings: &mut Vec<Finding>) {
    if document.name.len() > MAX_NAME_BYTES || !document.name.split('.').all(is_word) {
        let remedy = "write lower-case words with dots between them, such as `demo.publish`";
        findings.push(Finding::error("/name", "this is not a name for a flow", remedy));
    }
    let version = &document.version;
    if version.is_empty() || version.len() > MAX_VERSION_BYTES || !version.chars().all(|c| c.is_ascii_graphic()) {
        let remedy = format!("write 1 to {MAX_VERSION_BYTES} visible ASCII characters");
        findings.push(Finding::error("/version", "this is not a version", remedy));
    }
    if !is_word(&document.platform) {
        findings.push(Finding::error("/platform", "this is not a name for a platform", "write one lower-case word"));
    }
    let steps = document.steps.len();
    if steps == 0 || steps > MAX_FLOW_STEPS {
        let message = format!("a flow has 1 to {MAX_FLOW_STEPS} steps, this one has {steps}");
        findings.push(Finding::error("/steps", message, "split it into flows that start each other with `child`"));
    }
    if document.targets.len() > MAX_TARGETS {
        let message = format!("there are more than {MAX_TARGETS} targets");
        findings.push(Finding::error("/targets", message, "split the flow"));
    }
}

/// What is offered as one action is that action, and nothing else.
fn offer(document: &FlowDocument, findings: &mut Vec<Finding>) {
    let Some(offer) = &document.offers else { return };
    let effects = document.steps.iter().filter_map(|step| match &step.action {
        Action::Effect(effect) => Some(effect.action_type.as_str()),
        // Nobody knows what it does.
        Action::Child(_) => Some("child"),
        _ => None,
    });
    if effects.collect::<Vec<_>>() != [offer.action_type.as_str()] {
        let message = format!("the flow is offered as one `{}`, and that is not all that it does", offer.action_type);
        let remedy = "give it exactly one effect, of that `action_type`, and no `child`; or remove `offers`";
        findings.push(Finding::error("/offers/action_type", message, remedy));
    }
    let takes = |name: &str| document.inputs.get("properties").is_some_and(|inputs| inputs.get(name).is_some());
    for (field, input) in [("account", &offer.account), ("target", &offer.target)] {
        if let Some(name) = input.as_deref().filter(|name| !takes(name)) {
            let message = format!("there is no input `{name}`");
            findings.push(Finding::error(below("/offers", field), message, "name one of the flow's inputs"));
        }
    }
}

/// A lower-case letter, then lower-case letters, digits and underscores.
pub(super) fn is_word(word: &str) -> bool {
    let starts_well = word.starts_with(|c: char| c.is_ascii_lowercase());
    let goes_on_well = word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    starts_well && goes_on_well && word.len() <= MAX_NAME_BYTES
}
