//! The audit trail's chains, and what is read of it to verify and to prove.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::{Store, StoreError};
use crate::audit::{AuditRow, Hash, PolicySnapshot, Seal, SignedHead};
use crate::id::RunId;

/// How far the trail goes, and the ends of its chains.
#[derive(Debug)]
pub(crate) struct Extent {
    /// How many rows were ever given a position.
    pub(crate) written: i64,
    /// The last sealed position.
    pub(crate) sealed_to: i64,
}

impl Store {
    /// The last sealed position, and the rows after it, in order.
    pub(crate) async fn unsealed(&self, most: i64) -> Result<(i64, Vec<AuditRow>), StoreError> {
        const UNSEALED: &str = "with sealed as (select coalesce(max(position), 0) as position from fermata.audit_seal)
            select s.position as known, a.* from sealed s
            left join lateral (select * from fermata.audit a where a.position > s.position order by a.position limit $1) a
                on true order by a.position";
        let rows = sqlx::query(UNSEALED).bind(most).fetch_all(&self.direct).await?;
        let known = rows.first().map(|row| row.try_get("known")).transpose()?.unwrap_or(0);
        let there = rows.iter().filter(|row| row.try_get::<Option<i64>, _>("position").is_ok_and(|at| at.is_some()));
        Ok((known, there.map(audit_row).collect::<Result<_, _>>()?))
    }

    /// Where the chains of these clients end; of all of them by default.
    pub(crate) async fn chain_ends(
        &self,
        clients: Option<Vec<String>>,
    ) -> Result<BTreeMap<String, (i64, Hash)>, StoreError> {
        const ENDS: &str =
            "select client_id, seq, hash from fermata.audit_head where $1 is null or client_id = any ($1)";
        let rows = sqlx::query(ENDS).bind(clients).fetch_all(&self.direct).await?;
        let end = |row: &PgRow| Ok((row.try_get("client_id")?, (row.try_get("seq")?, hash(row)?)));
        Ok(rows.iter().map(end).collect::<Result<_, sqlx::Error>>()?)
    }

    /// Adds links after `known`; `false` when somebody else has added some meanwhile.
    pub(crate) async fn seal(&self, known: i64, seals: &[Seal], signed: &[SignedHead]) -> Result<bool, StoreError> {
        let signed: Vec<Value> = signed
            .iter()
            .map(|head| json!({"client_id": head.client_id, "seq": head.seq, "document": head.line()}))
            .collect();
        Ok(sqlx::query_scalar("select fermata.seal(now(), $1, $2, $3, $4, $5, $6)")
            .bind(known)
            .bind(seals.iter().map(|seal| seal.position).collect::<Vec<_>>())
            .bind(seals.iter().map(|seal| seal.client_id.clone()).collect::<Vec<_>>())
            .bind(seals.iter().map(|seal| seal.seq).collect::<Vec<_>>())
            .bind(seals.iter().map(|seal| seal.hash.to_vec()).collect::<Vec<_>>())
            .bind(Json(signed))
            .fetch_one(&self.direct)
            .await?)
    }

    /// Signed heads that have not left yet.
    pub(crate) async fn heads_due(&self, most: i64) -> Result<Vec<SignedHead>, StoreError> {
        const DUE: &str = "select document from fermata.signed_head where exported_at is null
            order by client_id, seq limit $1";
        heads(&sqlx::query_scalar(DUE).bind(most).fetch_all(&self.direct).await?)
    }

    /// These have left.
    pub(crate) async fn heads_left(&self, heads: &[SignedHead]) -> Result<(), StoreError> {
        const LEFT: &str = "update fermata.signed_head h set exported_at = now()
            from unnest($1::text[], $2::int8[]) l(client, seq) where h.client_id = l.client and h.seq = l.seq";
        sqlx::query(LEFT)
            .bind(heads.iter().map(|head| head.client_id.clone()).collect::<Vec<_>>())
            .bind(heads.iter().map(|head| head.seq).collect::<Vec<_>>())
            .execute(&self.direct)
            .await?;
        Ok(())
    }

    /// The signed heads that the database knows itself, after one of them by client and place.
    pub(crate) async fn signed_heads(&self, after: (&str, i64), most: i64) -> Result<Vec<SignedHead>, StoreError> {
        const KNOWN: &str = "select document from fermata.signed_head where (client_id, seq) > ($1, $2)
            order by client_id, seq limit $3";
        let known: Vec<String> =
            sqlx::query_scalar(KNOWN).bind(after.0).bind(after.1).bind(most).fetch_all(&self.direct).await?;
        heads(&known)
    }

    /// How far the trail goes.
    pub(crate) async fn audit_extent(&self) -> Result<Extent, StoreError> {
        const EXTENT: &str = "select p.audit, (select coalesce(max(position), 0) from fermata.audit_seal) as sealed_to
            from fermata.position p";
        let row = sqlx::query(EXTENT).fetch_one(&self.direct).await?;
        Ok(Extent { written: row.try_get("audit")?, sealed_to: row.try_get("sealed_to")? })
    }

    /// Rows after a position, in order, as far as `to`.
    pub(crate) async fn audit_rows(&self, after: i64, to: i64, most: i64) -> Result<Vec<AuditRow>, StoreError> {
        const ROWS: &str =
            "select * from fermata.audit where position > $1 and position <= $2 order by position limit $3";
        let rows = sqlx::query(ROWS).bind(after).bind(to).bind(most).fetch_all(&self.direct).await?;
        Ok(rows.iter().map(audit_row).collect::<Result<_, _>>()?)
    }

    /// Links after a position, in order, as far as `to`.
    pub(crate) async fn audit_seals(&self, after: i64, to: i64, most: i64) -> Result<Vec<Seal>, StoreError> {
        const SEALS: &str = "select position, client_id, seq, hash from fermata.audit_seal
            where position > $1 and position <= $2 order by position limit $3";
        let rows = sqlx::query(SEALS).bind(after).bind(to).bind(most).fetch_all(&self.direct).await?;
        Ok(rows.iter().map(seal).collect::<Result<_, _>>()?)
    }

    /// The rows of a run, with their links if they have one.
    pub(crate) async fn audit_of_run(&self, run: RunId) -> Result<Vec<(AuditRow, Option<Seal>)>, StoreError> {
        const OF_RUN: &str = "select a.*, s.seq, s.hash from fermata.audit a
            left join fermata.audit_seal s using (position) where a.run_id = $1 order by a.position";
        let rows = sqlx::query(OF_RUN).bind(run.0).fetch_all(&self.direct).await?;
        let read = |row: &PgRow| {
            let is_sealed = row.try_get::<Option<i64>, _>("seq")?.is_some();
            Ok((audit_row(row)?, if is_sealed { Some(seal(row)?) } else { None }))
        };
        Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
    }

    /// The first signed head at or behind each of these places of a chain.
    pub(crate) async fn next_heads(&self, client: &str, seqs: &[i64]) -> Result<Vec<SignedHead>, StoreError> {
        const NEXT: &str = "select document from fermata.signed_head where client_id = $1 and seq in (
            select (select min(h.seq) from fermata.signed_head h where h.client_id = $1 and h.seq >= u.seq)
            from unnest($2::int8[]) u(seq))";
        let known: Vec<String> = sqlx::query_scalar(NEXT).bind(client).bind(seqs).fetch_all(&self.direct).await?;
        heads(&known)
    }

    /// The links of a chain from `from` to `to`, with their rows.
    pub(crate) async fn chain_between(
        &self,
        client: &str,
        from: i64,
        to: i64,
    ) -> Result<Vec<(AuditRow, Seal)>, StoreError> {
        const BETWEEN: &str =
            "select a.*, s.seq, s.hash from fermata.audit_seal s join fermata.audit a using (position)
            where s.client_id = $1 and s.seq between $2 and $3 order by s.seq";
        let rows = sqlx::query(BETWEEN).bind(client).bind(from).bind(to).fetch_all(&self.direct).await?;
        let read = |row: &PgRow| Ok((audit_row(row)?, seal(row)?));
        Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
    }

    /// The policies behind these hashes.
    pub(crate) async fn policy_snapshots(
        &self,
        client: &str,
        hashes: BTreeSet<String>,
    ) -> Result<Vec<PolicySnapshot>, StoreError> {
        const SNAPSHOTS: &str = "select hash, document from fermata.policy_snapshot
            where client_id = $1 and hash = any ($2) order by hash";
        let hashes: Vec<String> = hashes.into_iter().collect();
        let rows: Vec<(String, Value)> =
            sqlx::query_as(SNAPSHOTS).bind(client).bind(hashes).fetch_all(&self.direct).await?;
        Ok(rows.into_iter().map(|(hash, document)| PolicySnapshot { hash, document }).collect())
    }
}

fn heads(documents: &[String]) -> Result<Vec<SignedHead>, StoreError> {
    let read = |text: &String| serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()).into());
    documents.iter().map(read).collect()
}

pub(super) fn audit_row(row: &PgRow) -> Result<AuditRow, sqlx::Error> {
    Ok(AuditRow {
        position: row.try_get("position")?,
        id: row.try_get("id")?,
        at: row.try_get::<DateTime<Utc>, _>("at")?,
        client_id: row.try_get("client_id")?,
        run_id: row.try_get("run_id")?,
        action_id: row.try_get("action_id")?,
        actor: row.try_get("actor")?,
        phase: row.try_get("phase")?,
        body: row.try_get("body")?,
    })
}

fn seal(row: &PgRow) -> Result<Seal, sqlx::Error> {
    Ok(Seal {
        position: row.try_get("position")?,
        client_id: row.try_get("client_id")?,
        seq: row.try_get("seq")?,
        hash: hash(row)?,
    })
}

fn hash(row: &PgRow) -> Result<Hash, sqlx::Error> {
    let bytes: Vec<u8> = row.try_get("hash")?;
    Hash::try_from(bytes.as_slice()).map_err(|error| sqlx::Error::Decode(error.into()))
}
