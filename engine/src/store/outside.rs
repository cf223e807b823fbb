//! What arrives from outside a lease: decisions, cancel, resume. (Signals ride with the writer's batches.)

use serde_json::{Value, json};
use sqlx::types::Json;
use sqlx::{Executor, Row};

use super::record::{Sending, Sent};
use super::{Store, StoreError};
use crate::id::{GateId, RunId};
use crate::read::GateView;
use crate::run::Decision;

/// What became of a resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resumed {
    Done,
    NotWaiting,
    Ended,
    Missing,
}

/// Which run somebody acts on, for which client, and who acts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) run: RunId,
    pub(crate) client: &'a str,
    pub(crate) actor: &'a str,
}

impl Store {
    /// The client that a run belongs to. For the engine's own checks, never for an answer.
    pub(crate) async fn client_of(&self, run: RunId) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar("select client_id from fermata.run where id = $1")
            .bind(run.0)
            .fetch_optional(&self.direct)
            .await?)
    }

    /// For the rig: a signal without the writer, on a connection of the pool on which a transaction is begun by hand.
    /// A caller who goes away leaves it begun, for whoever comes next.
    pub(crate) async fn signal_by_hand(&self, sending: &Sending) -> Result<Sent, StoreError> {
        let mut connection = self.direct.acquire().await?;
        connection.execute("begin").await?;
        connection.execute("commit").await?;
        drop(connection);
        let signal = json!([{
            "id": sending.id, "run": sending.run, "client": sending.client, "actor": sending.actor,
            "name": sending.name, "payload": &*sending.payload,
        }]);
        let sent: Vec<String> = sqlx::query_scalar("select sent from fermata.commit(now(), signals => $1)")
            .bind(Json(signal))
            .fetch_one(&self.direct)
            .await?;
        Ok(sent.first().map_or(Sent::Missing, |word| Sent::of(word)))
    }

    pub(crate) async fn cancel_run(&self, target: Target<'_>, why: &str) -> Result<String, StoreError> {
        Ok(sqlx::query_scalar("select fermata.cancel_run(now(), $1, $2, $3, $4)")
            .bind(target.run.0)
            .bind(target.client)
            .bind(target.actor)
            .bind(why)
            .fetch_one(&self.direct)
            .await?)
    }

    pub(crate) async fn resume_run(
        &self,
        target: Target<'_>,
        comment: Option<&str>,
        outputs: &Value,
    ) -> Result<Resumed, StoreError> {
        let word: String = sqlx::query_scalar("select fermata.resume_run(now(), $1, $2, $3, $4, $5)")
            .bind(target.run.0)
            .bind(target.client)
            .bind(target.actor)
            .bind(comment)
            .bind(Json(outputs))
            .fetch_one(&self.direct)
            .await?;
        Ok(match word.as_str() {
            "resumed" => Resumed::Done,
            "not_waiting" => Resumed::NotWaiting,
            "ended" => Resumed::Ended,
            _ => Resumed::Missing,
        })
    }

    /// Decides a gate; `None` when the client has no such gate, else whether this call decided it.
    pub(crate) async fn decide_gate(
        &self,
        gate: GateId,
        client: &str,
        actor: &str,
        decision: &Decision,
    ) -> Result<Option<(bool, GateView)>, StoreError> {
        let row = sqlx::query("select * from fermata.decide_gate(now(), $1, $2, $3, $4, $5, $6)")
            .bind(gate.0)
            .bind(client)
            .bind(if decision.approve { "approved" } else { "rejected" })
            .bind(actor)
            .bind(decision.comment.as_deref())
            .bind(Json(&decision.outputs))
            .fetch_optional(&self.direct)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let view: Json<GateView> = row.try_get("gate_row")?;
        Ok(Some((row.try_get("decided")?, view.0)))
    }

    /// Whether the action that an open gate asks about may be repeated. True where it asks about none, or is decided: that is
    /// said by whoever decides it.
    pub(crate) async fn may_repeat(&self, gate: GateId, client: &str) -> Result<bool, StoreError> {
        let may = sqlx::query_scalar(
            "select coalesce(bool_and(fermata.may_repeat(a.id)), true) from fermata.gate g
             join fermata.action a on a.run_id = g.run_id and a.id::text = g.shown ->> 'action_id'
             where g.id = $1 and ($2 = '*' or g.client_id = $2) and g.state = 'open' and g.reason = 'outcome_unknown'
                 and g.kind = 'takeover'",
        );
        Ok(may.bind(gate.0).bind(client).fetch_one(&self.direct).await?)
    }

    /// The children of a run that have not ended.
    pub(crate) async fn open_children(&self, run: RunId) -> Result<Vec<RunId>, StoreError> {
        let ids: Vec<uuid::Uuid> = sqlx::query_scalar("select id from fermata.live where parent_id = $1 order by id")
            .bind(run.0)
            .fetch_all(&self.direct)
            .await?;
        Ok(ids.into_iter().map(RunId).collect())
    }
}
