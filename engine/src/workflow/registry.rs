//! Which workflows this process hosts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::Schema;
use serde_json::Value;

use super::{About, DynWorkflow, Failure, Foresight, Subject, Workflow};
use crate::effect::Vocabulary;
use crate::policy::Classifiers;

/// The workflows of this process, by name. A node claims only what it hosts, in its version.
#[derive(Clone, Default)]
pub struct Registry {
    workflows: BTreeMap<&'static str, Arc<dyn DynWorkflow>>,
    vocabulary: Vocabulary,
    classifiers: Classifiers,
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a workflow; the last one of a name wins.
    pub fn with<W: Workflow>(mut self, workflow: W) -> Self {
        self.workflows.insert(W::NAME, Arc::new(workflow));
        self
    }

    /// Says which kinds of action and which platforms there are; nothing is planned under another word.
    #[must_use]
    pub fn knowing(mut self, vocabulary: Vocabulary) -> Self {
        self.vocabulary = vocabulary;
        self
    }

    /// The kinds of action and the platforms that there are.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Says who is asked about content where a policy names them.
    #[must_use]
    pub fn classifying(mut self, classifiers: Classifiers) -> Self {
        self.classifiers = classifiers;
        self
    }

    /// Who is asked about content.
    pub fn classifiers(&self) -> &Classifiers {
        &self.classifiers
    }

    /// The names of all workflows, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.workflows.keys().copied()
    }

    /// What its author says of a workflow.
    pub fn about(&self, name: &str) -> Option<About> {
        self.workflows.get(name).map(|workflow| workflow.about())
    }

    /// The JSON Schema (2020-12) of a workflow's input.
    pub fn input_schema(&self, name: &str) -> Option<Schema> {
        self.workflows.get(name).map(|workflow| workflow.input_schema())
    }

    /// Checks an input before it is queued; the error names what does not fit.
    pub fn check(&self, name: &str, input: &Value, subject: Subject<'_>) -> Option<Result<(), Failure>> {
        self.workflows.get(name).map(|workflow| workflow.check(input, subject))
    }

    /// What a run would do outside, as far as that is known; `None` where no such workflow is hosted, or it cannot say.
    pub fn foresee(&self, name: &str, input: &Value, client: &str) -> Option<Result<Foresight, Failure>> {
        self.workflows.get(name)?.foresee(input, client).transpose()
    }

    /// `name@version` of a hosted workflow.
    pub(crate) fn versioned(&self, name: &str) -> Option<String> {
        self.workflows.get(name).map(|workflow| format!("{}@{}", workflow.name(), workflow.version()))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<dyn DynWorkflow>> {
        self.workflows.get(name)
    }

    /// `name@version` of everything hosted, as stored with each run.
    pub(crate) fn hosted(&self) -> Vec<String> {
        self.workflows.values().map(|workflow| format!("{}@{}", workflow.name(), workflow.version())).collect()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.workflows.keys()).finish()
    }
}
