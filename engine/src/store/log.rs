//! Log lines of all services.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::read::query;
use super::{Store, StoreError};
use crate::id::RunId;
use crate::log::{LineFilter, LineView, LogRow};
use crate::read::Page;

const INSERT: &str = "insert into fermata.logs
        (id, client_id, at, received_at, level, service, message, trace_id, correlation_id, run_id, data)
    select f.id, case when $11 = '*' then coalesce(r.client_id, '*') else $11 end, coalesce(f.at, $1), $1, f.level, f.service, f.message, f.trace_id,
        f.correlation_id, f.run_id, f.data
    from unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::uuid[],
        $10::jsonb[]) as f (id, at, level, service, message, trace_id, correlation_id, run_id, data)
    left join fermata.run r on r.id = f.run_id";

impl Store {
    /// Keeps lines, all or none. Nobody writes into the lines of another client.
    pub(crate) async fn insert_logs(
        &self,
        client: &str,
        rows: &[LogRow],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let frames = || rows.iter().map(|row| &row.frame);
        sqlx::query(INSERT)
            .bind(now)
            .bind(rows.iter().map(|row| row.id).collect::<Vec<Uuid>>())
            .bind(frames().map(|frame| frame.timestamp).collect::<Vec<_>>())
            .bind(frames().map(|frame| frame.level.as_str()).collect::<Vec<_>>())
            .bind(frames().map(|frame| frame.service.as_str()).collect::<Vec<_>>())
            .bind(frames().map(|frame| frame.message.as_str()).collect::<Vec<_>>())
            .bind(frames().map(|frame| frame.trace_id.as_deref()).collect::<Vec<_>>())
            .bind(frames().map(|frame| frame.correlation_id.as_deref()).collect::<Vec<_>>())
            .bind(frames().map(|frame| frame.run_id.map(|id| id.0)).collect::<Vec<_>>())
            .bind(frames().map(|frame| sqlx::types::Json(&frame.data)).collect::<Vec<_>>())
            .bind(client)
            .execute(&self.direct)
            .await?;
        Ok(())
    }

    /// Lines that a client may see, the last received first.
    pub(crate) async fn logs(
        &self,
        client: &str,
        filter: &LineFilter,
        page: Page,
    ) -> Result<Vec<LineView>, StoreError> {
        let mut query = query::logs(filter, page);
        self.snapshot(client, move |on| {
            Box::pin(async move { query.build().fetch_all(on).await?.iter().map(line).collect() })
        })
        .await
    }
}

fn line(row: &PgRow) -> Result<LineView, sqlx::Error> {
    Ok(LineView {
        id: row.try_get("id")?,
        timestamp: row.try_get("at")?,
        received_at: row.try_get("received_at")?,
        level: row.try_get("level")?,
        service: row.try_get("service")?,
        message: row.try_get("message")?,
        trace_id: row.try_get("trace_id")?,
        correlation_id: row.try_get("correlation_id")?,
        run_id: row.try_get::<Option<Uuid>, _>("run_id")?.map(RunId),
        data: row.try_get("data")?,
    })
}
