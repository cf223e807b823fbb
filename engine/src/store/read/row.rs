//! Rows into views.

use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::super::audit::audit_row;
use crate::event::{Cursor, Severity};
use crate::id::{ActionId, ArtifactId, IntentId, NodeId, RunId};
use crate::read::{
    ActionView, ArtifactView, AuditView, CommandView, EventFacts, EventView, GateView, IntentView, Lifecycle, Links,
    ProofView, StepState, StepSummary, StepView,
};
use crate::run::Ending;
use crate::step::Kind;

type Answer<T> = Result<T, sqlx::Error>;

pub(super) fn ending(row: &PgRow) -> Answer<Ending> {
    Ok(Ending { status: row.try_get("status")?, result: row.try_get("result")?, error: row.try_get("error")? })
}

pub(super) fn command(row: &PgRow) -> Answer<CommandView> {
    let id = RunId(row.try_get("id")?);
    Ok(CommandView {
        command_id: id,
        client_id: row.try_get("client_id")?,
        r#type: row.try_get("kind")?,
        workflow: row.try_get("workflow")?,
        status: row.try_get("status")?,
        wait_reason: row.try_get("wait_reason")?,
        due_at: row.try_get("due")?,
        platform: row.try_get("platform")?,
        account_id: row.try_get("account_id")?,
        session_id: row.try_get("session_id")?,
        correlation_id: row.try_get("correlation_id")?,
        idempotency_key: row.try_get("idempotency_key")?,
        priority: row.try_get("priority")?,
        not_before: row.try_get("not_before")?,
        deadline: row.try_get("deadline")?,
        policy: row.try_get("policy")?,
        payload: row.try_get("input")?,
        result: row.try_get("result")?,
        error: row.try_get("error")?,
        trace_id: row.try_get("trace_id")?,
        parent_id: row.try_get::<Option<Uuid>, _>("parent_id")?.map(RunId),
        submitted_by: row.try_get("submitted_by")?,
        created_at: row.try_get("created_at")?,
        ended_at: row.try_get("ended_at")?,
        epoch: row.try_get("epoch")?,
        node: row.try_get::<Option<Uuid>, _>("node")?.map(NodeId),
        version: row.try_get("seq")?,
        lifecycle: Vec::new(),
        links: Links::of(id),
    })
}

pub(super) fn lifecycle(row: &PgRow) -> Answer<Lifecycle> {
    Ok(Lifecycle { status: row.try_get("status")?, at: row.try_get("at")?, reason: row.try_get("reason")? })
}

pub(super) fn step(row: &PgRow) -> Answer<StepView> {
    let (started_at, ended_at) = (row.try_get("started_at")?, row.try_get("ended_at")?);
    let error: Option<serde_json::Value> = row.try_get("error")?;
    Ok(StepView {
        key: row.try_get("key")?,
        attempt: row.try_get("attempt")?,
        kind: step_kind(row.try_get("kind")?).to_owned(),
        state: if error.is_some() { StepState::Failed } else { StepState::Succeeded },
        input_hash: row.try_get("input_hash")?,
        output: row.try_get("output")?,
        error,
        started_at,
        ended_at,
        // Two clocks: what is started by a node's clock may seem to end before it began.
        duration_ms: (ended_at - started_at).num_milliseconds().max(0),
        epoch: row.try_get("epoch")?,
        generation: row.try_get("generation")?,
    })
}

pub(super) fn step_summary(row: &PgRow) -> Answer<StepSummary> {
    let command_id = RunId(row.try_get("of_id")?);
    Ok(StepSummary { command_id, began_at: row.try_get("began_at")?, newest: step(row)? })
}

pub(super) fn intent(row: &PgRow) -> Answer<IntentView> {
    Ok(IntentView {
        intent_id: IntentId(row.try_get("id")?),
        client_id: row.try_get("client_id")?,
        key: row.try_get("key")?,
        spec: row.try_get("spec")?,
        current_action: row.try_get::<Option<Uuid>, _>("current_action")?.map(ActionId),
        repeat_allowed: row.try_get("repeat_allowed")?,
        created_at: row.try_get("created_at")?,
    })
}

pub(super) fn audit(row: &PgRow) -> Answer<AuditView> {
    let row = audit_row(row)?;
    Ok(AuditView { position: row.position, event: row.into() })
}

fn step_kind(number: i16) -> &'static str {
    match Kind::try_from(number) {
        Ok(Kind::Step) => "step",
        Ok(Kind::Pure) => "pure",
        Ok(Kind::Sleep) => "sleep",
        Ok(Kind::Signal) => "signal",
        Ok(Kind::Gate) => "gate",
        Ok(Kind::Effect) => "effect",
        Ok(Kind::Child) => "child",
        Ok(Kind::ChildResult) => "child_result",
        Ok(Kind::Race) => "race",
        Ok(Kind::Unrecorded) => "unrecorded",
        // Written by a newer program.
        Err(_) => "other",
    }
}

pub(super) fn action(row: &PgRow) -> Answer<ActionView> {
    Ok(ActionView {
        action_id: ActionId(row.try_get("id")?),
        intent_id: IntentId(row.try_get("intent_id")?),
        command_id: RunId(row.try_get("run_id")?),
        client_id: row.try_get("client_id")?,
        step_key: row.try_get("step_key")?,
        number: row.try_get("number")?,
        state: row.try_get("state")?,
        action_type: row.try_get("action_type")?,
        platform: row.try_get("platform")?,
        account_id: row.try_get("account_id")?,
        lane: row.try_get("lane")?,
        idempotency_key: row.try_get("idempotency_key")?,
        payload_hash: row.try_get("payload_hash")?,
        identity_fingerprint_ok: row.try_get("identity_ok")?,
        policy_hash: row.try_get("policy_hash")?,
        verdict: row.try_get("verdict")?,
        attempt_id: row.try_get("attempt_id")?,
        epoch: row.try_get("epoch")?,
        call_deadline: row.try_get("call_deadline")?,
        resends: row.try_get("resends")?,
        looks: row.try_get("looks")?,
        effect: row.try_get("effect")?,
        receipt: row.try_get("receipt")?,
        error: row.try_get("error")?,
        level: row.try_get("level")?,
        proofs: row.try_get::<Json<Vec<ProofView>>, _>("proofs")?.0,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

pub(super) fn gate(row: &PgRow) -> Answer<GateView> {
    Ok(row.try_get::<Json<GateView>, _>("gate_row")?.0)
}

pub(super) fn artifact(row: &PgRow) -> Answer<ArtifactView> {
    let id = ArtifactId(row.try_get("id")?);
    Ok(ArtifactView {
        artifact_id: id,
        client_id: row.try_get("client_id")?,
        command_id: row.try_get::<Option<Uuid>, _>("run_id")?.map(RunId),
        kind: row.try_get("kind")?,
        content_type: row.try_get("content_type")?,
        checksum: row.try_get("checksum")?,
        bytes: row.try_get("bytes")?,
        created_at: row.try_get("created_at")?,
        content: format!("/v1/artifacts/{id}/content"),
    })
}

/// An event of the stream's `epoch`.
pub(in crate::store) fn event(row: &PgRow, epoch: u32) -> Answer<EventView> {
    let severity = match row.try_get::<i16, _>("severity")? {
        0 => Severity::Debug,
        1 => Severity::Info,
        2 => Severity::Warn,
        _ => Severity::Error,
    };
    Ok(EventView::from(EventFacts {
        cursor: Cursor { epoch, position: row.try_get("position")? },
        at: row.try_get("at")?,
        client_id: row.try_get("client_id")?,
        run: row.try_get::<Option<Uuid>, _>("run_id")?.map(RunId),
        kind: row.try_get("type")?,
        severity,
        data: row.try_get("data")?,
        account_id: row.try_get("account_id")?,
        session_id: row.try_get("session_id")?,
        correlation_id: row.try_get("correlation_id")?,
        trace_id: row.try_get("trace_id")?,
    }))
}
