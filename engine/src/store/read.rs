//! Reads that answer requests: as the reader role, under row-level security, one transaction each.
//!
//! The client is set inside the transaction, so that a pooled connection cannot carry it on. Each
//! transaction runs in a task of its own: a request that is given up cannot cancel it half-way.

mod many;
pub(super) mod query;
pub(super) mod row;

use std::panic::resume_unwind;
use std::pin::Pin;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::sync::oneshot;
use tracing::debug;

use super::{Store, StoreError};
use crate::event::Cursor;
use crate::id::{ArtifactId, GateId, RunId};
use crate::read::{
    ActionFilter, ActionView, ArtifactFilter, ArtifactView, CommandFilter, CommandView, EventFilter, EventView,
    GateFilter, GateView, Page, StepView,
};

use crate::run::Ending;

/// What happens inside a read transaction.
type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

/// Begins a transaction that sees what `client` may see, in one round trip.
///
/// Whatever the client is called, it goes in as hexadecimal digits. Behind a pooler the server's end may hold what
/// others prepared under the same names, and the role that a connection was set to may be another's.
fn begin(client: &str, pooled: bool) -> String {
    let deallocate = if pooled { "deallocate all; " } else { "" };
    format!(
        "begin isolation level repeatable read read only; {deallocate}select set_config('role', 'fermata_reader', true),
            set_config('fermata.client', convert_from(decode('{}', 'hex'), 'UTF8'), true),
            set_config('jit', 'off', true), set_config('statement_timeout', '10s', true)",
        hex::encode(client)
    )
}

impl StoreError {
    /// Whether the statement ran into its time limit.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::Refused(sqlx::Error::Database(error)) if error.code().as_deref() == Some("57014"))
    }
}

impl Store {
    /// Runs `work` on one snapshot of what `client` may see.
    pub(super) async fn snapshot<T, F>(&self, client: &str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T> + Send + 'static,
    {
        let (pool, begin) = (self.reads.clone(), AssertSqlSafe(begin(client, self.pooled)));
        let (tell, told) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut transaction = match pool.begin_with(begin).await {
                Ok(transaction) => transaction,
                Err(error) => return drop(tell.send(Err(error))),
            };
            let answer = work(&mut transaction).await;
            // Nobody waits for the end of what has changed nothing, and who went away misses nothing.
            drop(tell.send(answer));
            if let Err(error) = transaction.commit().await {
                debug!(error = %error, "a read could not be ended, its connection is given up");
            }
        });
        match told.await {
            Ok(answer) => Ok(answer?),
            Err(_) => match task.await {
                Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                _ => Err(StoreError::Stopped),
            },
        }
    }

    pub(crate) async fn command(&self, client: &str, id: RunId, most: i64) -> Result<Option<CommandView>, StoreError> {
        self.snapshot(client, move |on| {
            Box::pin(async move {
                let Some(found) = query::command(id).build().fetch_optional(&mut *on).await? else { return Ok(None) };
                let mut command = row::command(&found)?;
                let changes = query::lifecycle(id, most).build().fetch_all(&mut *on).await?;
                command.lifecycle = changes.iter().rev().map(row::lifecycle).collect::<Result<_, _>>()?;
                Ok(Some(command))
            })
        })
        .await
    }

    /// How a run ended, or how it stands.
    pub(crate) async fn ending(&self, client: &str, id: RunId) -> Result<Option<Ending>, StoreError> {
        self.snapshot(client, move |on| {
            Box::pin(async move {
                let found = sqlx::query("select status, result, error from fermata.command where id = $1")
                    .bind(id.0)
                    .fetch_optional(on)
                    .await?;
                found.map(|found| row::ending(&found)).transpose()
            })
        })
        .await
    }

    pub(crate) async fn command_status(&self, client: &str, id: RunId) -> Result<Option<String>, StoreError> {
        self.snapshot(client, move |on| {
            Box::pin(async move {
                sqlx::query_scalar("select status from fermata.command where id = $1")
                    .bind(id.0)
                    .fetch_optional(on)
                    .await
            })
        })
        .await
    }

    pub(crate) async fn commands(
        &self,
        client: &str,
        filter: &CommandFilter,
        page: Page,
    ) -> Result<Vec<CommandView>, StoreError> {
        let mut query = query::commands(client, filter, page);
        self.snapshot(client, move |on| {
            Box::pin(async move { query.build().fetch_all(on).await?.iter().map(row::command).collect() })
        })
        .await
    }

    /// `None` when the client has no such run.
    pub(crate) async fn steps(
        &self,
        client: &str,
        run: RunId,
        page: Page,
    ) -> Result<Option<Vec<StepView>>, StoreError> {
        self.snapshot(client, move |on| {
            Box::pin(async move {
                if !exists(on, Some(run)).await? {
                    return Ok(None);
                }
                let rows = query::steps(run, page).build().fetch_all(on).await?;
                rows.iter().map(row::step).collect::<Result<_, _>>().map(Some)
            })
        })
        .await
    }

    /// `None` when the client has no such run.
    pub(crate) async fn actions(
        &self,
        client: &str,
        filter: &ActionFilter,
        page: Page,
    ) -> Result<Option<Vec<ActionView>>, StoreError> {
        let (mut query, run) = (query::actions(client, filter, page), filter.run);
        self.snapshot(client, move |on| {
            Box::pin(async move {
                if !exists(on, run).await? {
                    return Ok(None);
                }
                let rows = query.build().fetch_all(on).await?;
                rows.iter().map(row::action).collect::<Result<_, _>>().map(Some)
            })
        })
        .await
    }

    /// `None` when the client has no such run.
    pub(crate) async fn gates(
        &self,
        client: &str,
        filter: &GateFilter,
        page: Page,
    ) -> Result<Option<Vec<GateView>>, StoreError> {
        let (mut query, run) = (query::gates(client, filter, page), filter.run);
        self.snapshot(client, move |on| {
            Box::pin(async move {
                if !exists(on, run).await? {
                    return Ok(None);
                }
                let rows = query.build().fetch_all(on).await?;
                rows.iter().map(row::gate).collect::<Result<_, _>>().map(Some)
            })
        })
        .await
    }

    pub(crate) async fn gate(&self, client: &str, id: GateId) -> Result<Option<GateView>, StoreError> {
        self.snapshot(client, move |on| {
            Box::pin(
                async move { query::gate(id).build().fetch_optional(on).await?.as_ref().map(row::gate).transpose() },
            )
        })
        .await
    }

    /// `None` when the client has no such run.
    pub(crate) async fn artifacts(
        &self,
        client: &str,
        filter: &ArtifactFilter,
        page: Page,
    ) -> Result<Option<Vec<ArtifactView>>, StoreError> {
        let (mut query, run) = (query::artifacts(client, filter, page), filter.run);
        self.snapshot(client, move |on| {
            Box::pin(async move {
                if !exists(on, run).await? {
                    return Ok(None);
                }
                let rows = query.build().fetch_all(on).await?;
                rows.iter().map(row::artifact).collect::<Result<_, _>>().map(Some)
            })
        })
        .await
    }

    pub(crate) async fn artifact(&self, client: &str, id: ArtifactId) -> Result<Option<ArtifactView>, StoreError> {
        self.snapshot(client, move |on| {
            Box::pin(async move {
                query::artifact(id).build().fetch_optional(on).await?.as_ref().map(row::artifact).transpose()
            })
        })
        .await
    }

    /// Events behind a cursor up to the position `until`; `None` when the client has no such run.
    pub(crate) async fn events(
        &self,
        client: &str,
        filter: &EventFilter,
        (after, until): (Cursor, i64),
        most: u32,
    ) -> Result<Option<Vec<EventView>>, StoreError> {
        let (mut query, run) = (query::events(client, filter, (after.position, until), most), filter.run);
        self.snapshot(client, move |on| {
            Box::pin(async move {
                if !exists(on, run).await? {
                    return Ok(None);
                }
                let rows = query.build().fetch_all(on).await?;
                rows.iter().map(|found| row::event(found, after.epoch)).collect::<Result<_, _>>().map(Some)
            })
        })
        .await
    }
}

/// Whether the client sees that run; without one there is nothing to miss.
async fn exists(on: &mut PgConnection, run: Option<RunId>) -> Result<bool, sqlx::Error> {
    let Some(run) = run else { return Ok(true) };
    sqlx::query_scalar("select exists (select 1 from fermata.run where id = $1)").bind(run.0).fetch_one(on).await
}
