//! Policy documents in force, and what is left of what they ration.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::{Store, StoreError};
use crate::effect::EVERY;
use crate::policy::{PolicyDocument, PolicyScope, PolicyView, Posted, Question};

/// The most documents that a list shows.
const MAX_LISTED: i64 = 1_000;

const LIST: &str = "select p.* from fermata.policy_head h
    join fermata.policy p on p.scope = h.scope and p.version = h.version order by p.scope limit $1";

impl Store {
    /// Puts a document in force, with its event and its audit row; `None` if the scope's version is not the `known` one.
    pub(crate) async fn put_policy(
        &self,
        scope: &PolicyScope,
        document: &PolicyDocument,
        known: Option<i64>,
        actor: &str,
    ) -> Result<Option<PolicyView>, StoreError> {
        let row = sqlx::query("select * from fermata.put_policy($1, $2, $3, $4, $5, $6, $7)")
            .bind(scope.to_string())
            .bind(scope.client())
            .bind(scope.platform())
            .bind(scope.account())
            .bind(Json(document))
            .bind(actor)
            .bind(known)
            .fetch_optional(&self.direct)
            .await?;
        Ok(row.as_ref().map(view).transpose()?)
    }

    /// Wakes runs that sleep because of a policy; at most so many. Answers how many.
    pub(crate) async fn wake_put_off(&self, client: &str, most: i32) -> Result<i32, StoreError> {
        let woken = sqlx::query_scalar("select fermata.wake_put_off($1, $2)").bind(client).bind(most);
        Ok(woken.fetch_one(&self.direct).await?)
    }

    /// The documents in force that a client may see: its own, and those of everybody.
    pub(crate) async fn policies(&self, client: &str) -> Result<Vec<PolicyView>, StoreError> {
        self.snapshot(client, |on| {
            Box::pin(async move {
                let rows = sqlx::query(LIST).bind(MAX_LISTED).fetch_all(on).await?;
                rows.iter().map(view).collect()
            })
        })
        .await
    }

    /// A scope's document of that version, or the one in force.
    pub(crate) async fn policy(
        &self,
        client: &str,
        scope: String,
        version: Option<i64>,
    ) -> Result<Option<PolicyView>, StoreError> {
        const ONE: &str = "select * from fermata.policy p where p.scope = $1 and ($2 is null or p.version = $2)
            order by p.version desc limit 1";
        self.snapshot(client, move |on| {
            Box::pin(async move {
                let row = sqlx::query(ONE).bind(scope).bind(version).fetch_optional(on).await?;
                row.as_ref().map(view).transpose()
            })
        })
        .await
    }

    /// When each of those texts was posted last by the account, but for what the intent of that key did itself.
    pub(crate) async fn posted(
        &self,
        by: Question<'_>,
        texts: &BTreeSet<String>,
        but: Option<&str>,
    ) -> Result<Posted, StoreError> {
        const LAST: &str = "select encode(t.hash, 'hex'), max(t.at) from fermata.posted_text t
            join fermata.intent i on i.id = t.intent_id and ($5 is null or i.key <> $5)
            where t.client_id = $1 and t.platform = $2 and t.account_id = $3
                and t.hash = any (array(select decode(w.hash, 'hex') from unnest($4) w(hash)))
            group by t.hash";
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let rows = sqlx::query_as::<_, (String, DateTime<Utc>)>(LAST)
            .bind(by.client)
            .bind(by.platform)
            .bind(by.account)
            .bind(texts)
            .bind(but)
            .fetch_all(&self.direct)
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// What stands against an attempt now: `{"mode", "reason"}`, `{"wait": {"rule", "until"}}`, or `None`.
    pub(crate) async fn rationed(&self, asked: &Value) -> Result<Option<Value>, StoreError> {
        Ok(sqlx::query_scalar("select fermata.rationed(now(), $1, 0)").bind(asked).fetch_one(&self.direct).await?)
    }
}

fn document(row: &PgRow) -> Result<PolicyDocument, sqlx::Error> {
    Ok(row.try_get::<Json<PolicyDocument>, _>("document")?.0)
}

fn view(row: &PgRow) -> Result<PolicyView, sqlx::Error> {
    let one = |name: String| (name != EVERY).then_some(name);
    let at: DateTime<Utc> = row.try_get("at")?;
    Ok(PolicyView {
        scope: row.try_get("scope")?,
        version: row.try_get("version")?,
        client_id: one(row.try_get("client_id")?),
        platform: one(row.try_get("platform")?),
        account_id: one(row.try_get("account_id")?),
        document: document(row)?,
        actor: row.try_get("actor")?,
        changed_at: at,
    })
}
