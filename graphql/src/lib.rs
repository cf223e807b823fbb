//! The GraphQL schema over the engine's reads.
//!
//! Owns how commands look to a dashboard that asks in GraphQL. Knows no HTTP and no SQL: a surface
//! puts the [`Engine`] and the [`Principal`] into the request's data, and every resolver passes the
//! principal on. Read [`schema`] first; another root field is one method of [`Query`].
//!
//! This is the first slice: subscriptions, mutations, connections and limits beyond those here
//! come with the stream.

use async_graphql::{Context, EmptyMutation, EmptySubscription, ID, Object, Result, Schema, SimpleObject};
use chrono::{DateTime, Utc};
use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::id::RunId;
use fermata_engine::read::{CommandFilter, CommandView, Page};

/// The deepest query that is answered.
const MAX_DEPTH: usize = 12;
/// The most complex one.
const MAX_COMPLEXITY: usize = 1_000;

/// The schema, ready to execute.
pub type FermataSchema = Schema<Query, EmptyMutation, EmptySubscription>;

/// Builds the schema. Each request must carry an [`Engine`] and a [`Principal`] in its data.
pub fn schema() -> FermataSchema {
    Schema::build(Query, EmptyMutation, EmptySubscription)
        .limit_depth(MAX_DEPTH)
        .limit_complexity(MAX_COMPLEXITY)
        .finish()
}

/// The root of all questions.
#[derive(Debug)]
pub struct Query;

/// A command and where it stands.
#[derive(Debug, SimpleObject)]
pub struct Command {
    id: ID,
    client_id: String,
    /// The command type, such as `flow.run`.
    kind: String,
    /// `QUEUED`, `RUNNING`, `WAITING`, `HUMAN_REQUIRED`, `SUCCEEDED`, ...
    status: String,
    wait_reason: Option<String>,
    correlation_id: Option<String>,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

#[Object]
impl Query {
    /// One command, if it exists for the caller.
    async fn command(&self, context: &Context<'_>, id: ID) -> Result<Option<Command>> {
        let run: RunId = id.parse().map_err(|_| async_graphql::Error::new("an id is a UUID"))?;
        let (engine, by) = (context.data::<Engine>()?, context.data::<Principal>()?);
        Ok(engine.command(by, run).await?.map(Command::from))
    }

    /// The newest commands of the caller's client, at most 200.
    async fn commands(&self, context: &Context<'_>, first: Option<u32>) -> Result<Vec<Command>> {
        let (engine, by) = (context.data::<Engine>()?, context.data::<Principal>()?);
        let page = Page::new(first, None)?;
        let found = engine.commands(by, &CommandFilter::default(), page).await?;
        Ok(found.items.into_iter().map(Command::from).collect())
    }
}

impl From<CommandView> for Command {
    fn from(view: CommandView) -> Self {
        Self {
            id: ID(view.command_id.to_string()),
            client_id: view.client_id,
            kind: view.r#type,
            status: view.status,
            wait_reason: view.wait_reason,
            correlation_id: view.correlation_id,
            created_at: view.created_at,
            ended_at: view.ended_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checked-in SDL; `FERMATA_UPDATE=1` rewrites it.
    #[test]
    fn the_checked_in_sdl_is_the_schema() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql");
        let sdl = schema().sdl();
        if std::env::var_os("FERMATA_UPDATE").is_some() {
            std::fs::write(path, &sdl).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), sdl, "run the test with FERMATA_UPDATE=1");
    }
}
