//! The database as the checker reads it: each table as JSON Lines, and only what belongs to the trial.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde_json::Value;
use sqlx::postgres::{PgConnection, PgPool};

use crate::trouble::Trouble;

/// How far the stream and the audit reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Positions {
    pub(crate) event: i64,
    pub(crate) audit: i64,
}

/// Where both stand now.
pub(crate) async fn positions(looks: &PgPool) -> Result<Positions, Trouble> {
    let (event, audit) = sqlx::query_as("select event, audit from fermata.position").fetch_one(looks).await?;
    Ok(Positions { event, audit })
}

/// Tables of which the trial's tenant has rows.
const TABLES: [&str; 9] = ["run", "live", "outcome", "step", "action", "intent", "gate", "signal", "idempotency"];

/// Writes `dump/*.jsonl`, all of one moment; answers how far stream and audit reached then.
pub(crate) async fn dump(looks: &PgPool, folder: &Path, client: &str, from: Positions) -> Result<Positions, Trouble> {
    let folder = folder.join("dump");
    std::fs::create_dir_all(&folder)?;
    let mut moment = looks.begin_with("begin isolation level repeatable read read only").await?;
    let (event, audit) = sqlx::query_as("select event, audit from fermata.position").fetch_one(&mut *moment).await?;
    let to = Positions { event, audit };
    for table in TABLES {
        let of = match table {
            "step" => "t.run_id in (select r.id from fermata.run r where r.client_id = $1)",
            _ => "t.client_id = $1",
        };
        let statement = format!("select row_to_json(t) from fermata.{table} t where {of}");
        let rows: Vec<Value> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).bind(client).fetch_all(&mut *moment).await?;
        write(&folder.join(format!("{table}.jsonl")), &rows)?;
    }
    for (table, after, upto) in [("event", from.event, to.event), ("audit", from.audit, to.audit)] {
        let rows = window(&mut moment, table, after, upto).await?;
        write(&folder.join(format!("{table}.jsonl")), &rows)?;
    }
    let switches: Vec<Value> =
        sqlx::query_scalar("select row_to_json(t) from fermata.kill_switch t").fetch_all(&mut *moment).await?;
    write(&folder.join("kill_switch.jsonl"), &switches)?;
    moment.rollback().await?;
    Ok(to)
}

/// Writes `earlier/audit.jsonl`: what the audit says while the trial still goes on.
pub(crate) async fn audit_so_far(looks: &PgPool, folder: &Path, from: Positions) -> Result<(), Trouble> {
    let folder = folder.join("earlier");
    std::fs::create_dir_all(&folder)?;
    let rows = window(&mut *looks.acquire().await?, "audit", from.audit, i64::MAX).await?;
    write(&folder.join("audit.jsonl"), &rows)
}

async fn window(on: &mut PgConnection, table: &str, after: i64, upto: i64) -> Result<Vec<Value>, Trouble> {
    let statement = format!(
        "select row_to_json(t) from fermata.{table} t where position > $1 and position <= $2 order by position"
    );
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).bind(after).bind(upto).fetch_all(on).await?)
}

pub(crate) fn write(path: &Path, rows: &[Value]) -> Result<(), Trouble> {
    let mut file = BufWriter::new(File::create(path)?);
    for row in rows {
        writeln!(file, "{row}")?;
    }
    Ok(file.flush()?)
}
