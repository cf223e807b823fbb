//! Branches: children, and races of which the first to finish wins for ever.

use std::future::Future;
use std::pin::Pin;

use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::{Value, json};

use super::context::{decode, scoped};
use super::parts::Parts;
use super::{Context, Failure, Subject};
use crate::document;
use crate::id::RunId;
use crate::step::Kind;
use crate::wait::{ChildEnd, Reason, Wait};

type Racing<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// One contender of a race.
pub struct Branch<'a, T> {
    label: String,
    start: Box<dyn FnOnce(Context) -> Racing<'a, T> + Send + 'a>,
}

impl<'a, T> Branch<'a, T> {
    /// A contender; its label names it for ever, and its context gives its steps their own names.
    pub fn new<F, Fut>(label: impl Into<String>, start: F) -> Self
    where
        F: FnOnce(Context) -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, Failure>> + Send + 'a,
    {
        Self { label: label.into(), start: Box::new(move |context| Box::pin(start(context))) }
    }
}

/// A child run that was started.
#[derive(Debug, Clone)]
pub struct ChildHandle {
    key: String,
    run: RunId,
}

impl ChildHandle {
    /// The child's run, which is also its command.
    pub fn run_id(&self) -> RunId {
        self.run
    }

    /// Waits for the child's result.
    pub async fn wait(&self, context: &Context) -> Result<Value, Failure> {
        let session = &context.session;
        let name = format!("{}@result", self.key);
        let (begun, _flight) = session.begin(&name, None, Kind::ChildResult, "").await?;
        if let Some(output) = begun.output {
            return ended(&decode::<ChildOutput>(output)?);
        }
        loop {
            let end = session.state().mailbox.child(self.run).cloned();
            let Some(end) = end else {
                session.wait(Wait::new(Reason::Child, None)).await;
                continue;
            };
            let output = ChildOutput::from(end);
            let row = context.checkpoint(&begun, Kind::ChildResult, "", &json!(output));
            session.found(Parts::default().step(row)).await;
            return ended(&output);
        }
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct ChildOutput {
    status: String,
    result: Option<Value>,
    error: Option<Value>,
}

impl From<ChildEnd> for ChildOutput {
    fn from(end: ChildEnd) -> Self {
        Self { status: end.status, result: end.result, error: end.error }
    }
}

fn ended(output: &ChildOutput) -> Result<Value, Failure> {
    if output.status == "SUCCEEDED" {
        return Ok(output.result.clone().unwrap_or(Value::Null));
    }
    let failure = output.error.clone().and_then(|error| serde_json::from_value(error).ok());
    Err(failure.unwrap_or_else(|| Failure::new("child_failed", format!("the child ended {}", output.status))))
}

impl Context {
    /// Starts a child run of a workflow that this installation hosts.
    ///
    /// The child is part of the parent's record: either both are durable or neither.
    pub async fn start_child(&self, name: &str, workflow: &str, input: Value) -> Result<ChildHandle, Failure> {
        let hash = document::fingerprint(&json!([workflow, input]));
        let (begun, _flight) = self.session.begin(&scoped(self, name), None, Kind::Child, &hash).await?;
        self.session.state().has_children = true;
        if let Some(output) = &begun.output {
            return Ok(ChildHandle { key: begun.key.clone(), run: decode(output.clone())? });
        }
        let registry = &self.session.host.registry;
        let versioned = match registry.check(workflow, &input, Subject::default()) {
            Some(Ok(())) => registry.versioned(workflow).unwrap_or_default(),
            Some(Err(failure)) => return Err(failure),
            None => return Err(Failure::new("unknown_workflow", format!("no workflow `{workflow}` is installed"))),
        };
        let run = RunId::new(self.clock());
        let child = json!({"id": run, "kind": workflow, "workflow": versioned, "input": input});
        let parts = Parts::default().step(self.checkpoint(&begun, Kind::Child, &hash, &json!(run))).rare(json!({
            "op": "child", "run_id": self.run_id(), "client_id": self.client_id(), "child": child,
        }));
        self.session.write(parts).await;
        Ok(ChildHandle { key: begun.key, run })
    }

    /// Starts a child and waits for its result.
    pub async fn child(&self, name: &str, workflow: &str, input: Value) -> Result<Value, Failure> {
        self.start_child(name, workflow, input).await?.wait(self).await
    }

    /// Waits for all children; the first failure in the order given ends it.
    pub async fn wait_all(&self, children: &[ChildHandle]) -> Result<Vec<Value>, Failure> {
        futures::future::try_join_all(children.iter().map(|child| child.wait(self))).await
    }

    /// Runs branches side by side; the first to finish wins, also on every replay, and the others
    /// are dropped where they stand. Answers the winner's label and result.
    pub async fn race<'a, T: Send + 'a>(
        &self,
        name: &str,
        branches: Vec<Branch<'a, T>>,
    ) -> Result<(String, T), Failure> {
        let name = scoped(self, name);
        let labels: Vec<_> = branches.iter().map(|branch| branch.label.clone()).collect();
        let hash = document::fingerprint(&json!(labels));
        let (begun, flight) = self.session.begin(&name, None, Kind::Race, &hash).await?;
        let won: Option<String> = begun.output.clone().map(decode).transpose()?;
        let mut racing: FuturesUnordered<_> = branches
            .into_iter()
            .filter(|branch| won.as_ref().is_none_or(|won| *won == branch.label))
            .map(|branch| {
                let context =
                    Self { session: self.session.clone(), scope: format!("{}/{}", begun.key, branch.label).into() };
                let running = (branch.start)(context);
                async move { (branch.label, running.await) }
            })
            .collect();
        let Some((label, result)) = racing.next().await else {
            return Err(Failure::new("empty_race", "a race needs at least one branch"));
        };
        drop(racing);
        if won.is_none() {
            let row = self.checkpoint(&begun, Kind::Race, &hash, &json!(label));
            self.session.write(Parts::default().step(row)).await;
        }
        drop(flight);
        Ok((label, result?))
    }
}
