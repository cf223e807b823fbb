//! What a workflow is, typed for its author and erased for the engine.

use std::future::Future;
use std::pin::Pin;

use schemars::{JsonSchema, Schema};
use serde::Deserialize as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Context, Failure, Foresight};

/// What a command names beside its input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The platform that it is about.
    pub platform: Option<&'a str>,
    /// The account that it acts for.
    pub account_id: Option<&'a str>,
}

/// Named, versioned code that may be called again from its start at any time: every step whose
/// checkpoint exists returns it instead of running.
///
/// The code between steps must be deterministic: time, random numbers and ids come from the
/// [`Context`], and everything that touches the outside is a step or an effect.
pub trait Workflow: Send + Sync + 'static {
    /// What a command of this type carries; unknown fields should be denied.
    type Input: DeserializeOwned + JsonSchema + Send + 'static;
    /// What the run ends with.
    type Output: Serialize + Send + 'static;

    /// The command type, such as `flow.run`. Never changes once a run was accepted.
    const NAME: &'static str;
    /// Raised when recorded runs could no longer be replayed by the new code.
    const VERSION: &'static str;
    /// A few words for people.
    const TITLE: &'static str = "";
    /// What it is for, in sentences.
    const DESCRIPTION: &'static str = "";

    /// Refuses an input that its type accepts but that makes no sense, before it is queued.
    ///
    /// Pure: the same is always judged the same.
    fn check(&self, _input: &Self::Input, _subject: Subject<'_>) -> Result<(), Failure> {
        Ok(())
    }

    /// What a run of that input for a client would do outside, as far as that is known without running it; `None` from a
    /// workflow that cannot say.
    ///
    /// Pure, and only for people: nothing follows from it.
    fn foresee(&self, _input: &Self::Input, _client: &str) -> Result<Option<Foresight>, Failure> {
        Ok(None)
    }

    /// Carries out one run.
    fn run(&self, context: Context, input: Self::Input) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

/// What people want to know of a workflow before they start it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// The command type.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// A few words; empty when its author gave none.
    pub title: &'static str,
    /// Sentences; empty when its author gave none.
    pub description: &'static str,
}

/// The outcome of an erased workflow.
pub(crate) type Ending = Result<Value, Failure>;

/// A workflow without its types, as the registry holds it.
pub(crate) trait DynWorkflow: Send + Sync {
    fn name(&self) -> &'static str;
    fn version(&self) -> &'static str;
    fn about(&self) -> About;
    fn input_schema(&self) -> Schema;
    fn check(&self, input: &Value, subject: Subject<'_>) -> Result<(), Failure>;
    fn foresee(&self, input: &Value, client: &str) -> Result<Option<Foresight>, Failure>;
    fn run<'a>(&'a self, context: Context, input: Value) -> Pin<Box<dyn Future<Output = Ending> + Send + 'a>>;
}

impl<W: Workflow> DynWorkflow for W {
    fn name(&self) -> &'static str {
        W::NAME
    }

    fn version(&self) -> &'static str {
        W::VERSION
    }

    fn about(&self) -> About {
        About { name: W::NAME, version: W::VERSION, title: W::TITLE, description: W::DESCRIPTION }
    }

    fn input_schema(&self) -> Schema {
        schemars::schema_for!(W::Input)
    }

    fn check(&self, input: &Value, subject: Subject<'_>) -> Result<(), Failure> {
        Workflow::check(self, &typed::<W>(input)?, subject)
    }

    fn foresee(&self, input: &Value, client: &str) -> Result<Option<Foresight>, Failure> {
        Workflow::foresee(self, &typed::<W>(input)?, client)
    }

    fn run<'a>(&'a self, context: Context, input: Value) -> Pin<Box<dyn Future<Output = Ending> + Send + 'a>> {
        Box::pin(async move {
            let output = Workflow::run(self, context, typed::<W>(&input)?).await?;
            serde_json::to_value(output)
                .map_err(|error| Failure::new("output_not_json", format!("the output is not JSON: {error}")))
        })
    }
}

fn typed<W: Workflow>(input: &Value) -> Result<W::Input, Failure> {
    W::Input::deserialize(input)
        .map_err(|error| Failure::new("input_invalid", format!("the payload does not fit: {error}")))
}
