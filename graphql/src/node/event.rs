//! Events.

use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use fermata_engine::id::RunId;
use fermata_engine::read::EventView;
use serde_json::Value;

use super::Command;
use crate::scalar::Time;
use crate::word::Severity;

/// An immutable fact, in the order in which it became one.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct Event {
    /// Unique for ever; the same event has the same id wherever it is read.
    id: ID,
    /// Its place in the stream: reading goes on behind it.
    cursor: String,
    /// Its name, such as `status.changed`.
    r#type: String,
    /// When it happened.
    time: Time,
    /// How much it matters.
    severity: Severity,
    /// Whose it is.
    client_id: String,
    /// The command that it is about, as an id.
    subject: Option<ID>,
    /// The account of its command.
    account_id: Option<String>,
    /// The browser session of its command.
    session_id: Option<String>,
    /// What its command was given to be found by.
    correlation_id: Option<String>,
    /// The trace that it belongs to (W3C Trace Context).
    traceparent: Option<String>,
    /// What happened, by type.
    data: Value,
    #[graphql(skip)]
    run: Option<RunId>,
}

impl From<EventView> for Event {
    fn from(view: EventView) -> Self {
        Self {
            id: ID(view.id.to_string()),
            cursor: view.cursor.to_string(),
            r#type: view.r#type,
            time: Time(view.time),
            severity: view.severity.into(),
            client_id: view.clientid,
            subject: view.subject.map(|run| ID(run.to_string())),
            account_id: view.accountid,
            session_id: view.sessionid,
            correlation_id: view.correlationid,
            traceparent: view.traceparent,
            run: view.subject,
            data: view.data,
        }
    }
}

#[ComplexObject]
impl Event {
    /// The command that it is about.
    async fn command(&self, context: &Context<'_>) -> Result<Option<Command>> {
        match self.run {
            Some(run) => Command::by_id(context, run).await,
            None => Ok(None),
        }
    }
}
