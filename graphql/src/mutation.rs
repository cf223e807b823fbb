//! What can be asked to happen: the same engine calls as REST makes.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object, Result, SimpleObject};
use fermata_engine::access::NoClient;
use fermata_engine::id::{GateId, RunId};
use fermata_engine::run::{Cancelled, Decision as EngineDecision, NewSignal, Submission};
use serde_json::{Value, json};

use crate::asked::{Asked, Refusal};
use crate::node::{Command, Gate};
use crate::scalar::Time;
use crate::word::{CommandStatus, Decision};

/// The longest idempotency key.
const MAX_KEY_BYTES: usize = 255;

/// Everything that can be asked to happen.
#[derive(Debug)]
pub struct Mutation;

/// A command to be submitted.
#[derive(Debug, InputObject)]
pub struct SubmitCommandInput {
    /// The command type, such as `flow.run`.
    r#type: String,
    /// What the type asks for.
    payload: Value,
    /// For which client; may be left out by a token of one client.
    client_id: Option<String>,
    /// The platform that it is about.
    platform: Option<String>,
    /// The account that it acts for.
    account_id: Option<String>,
    /// The browser session that it uses.
    session_id: Option<String>,
    /// The same key and content is the same command: 1 to 255 visible ASCII characters.
    idempotency_key: Option<String>,
    /// Ties commands together for the client.
    correlation_id: Option<String>,
    /// 0 to 9, higher first; 5 when left out.
    priority: Option<i32>,
    /// Not to be started before.
    not_before: Option<Time>,
    /// Failed when not ended by then.
    deadline: Option<Time>,
    /// The client's own word that what needs an extra flag (direct messages) is meant.
    approval: Option<bool>,
    /// Bounds of this command.
    policy: Option<CommandPolicyInput>,
    /// Check only: nothing is queued.
    #[graphql(default)]
    dry_run: bool,
}

/// Bounds of a command.
#[derive(Debug, Default, InputObject)]
pub struct CommandPolicyInput {
    /// The most retries of a step.
    max_retries: Option<u32>,
    /// The longest time that it may take, in seconds.
    #[graphql(name = "maxDurationS")]
    max_duration_s: Option<u32>,
}

/// A command is durable, or would be accepted.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct SubmitCommandPayload {
    /// The command; `null` after a dry run.
    command_id: Option<ID>,
    /// Whether an earlier submission with the same key was answered again.
    replayed: bool,
    #[graphql(skip)]
    run: Option<RunId>,
}

/// A command was cancelled, or will be.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct CancelCommandPayload {
    /// The command.
    command_id: ID,
    /// `CANCELLED` when it has ended, `CANCELLING` when it will.
    status: CommandStatus,
    #[graphql(skip)]
    run: RunId,
}

/// A signal is durable.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct SendSignalPayload {
    /// The signal.
    signal_id: ID,
    /// The command that it is for.
    command_id: ID,
    #[graphql(skip)]
    run: RunId,
}

/// A gate was decided.
#[derive(Debug, SimpleObject)]
pub struct DecideGatePayload {
    /// The gate, decided.
    gate: Gate,
}

#[ComplexObject]
impl SubmitCommandPayload {
    /// The command as it stands now; `null` after a dry run.
    async fn command(&self, context: &Context<'_>) -> Result<Option<Command>> {
        match self.run {
            Some(run) => Command::by_id(context, run).await,
            None => Ok(None),
        }
    }

    /// Its status, for who may submit but not read; `null` after a dry run.
    async fn status(&self, context: &Context<'_>) -> Result<Option<CommandStatus>> {
        let (asked, Some(run)) = (Asked::of(context)?, self.run) else { return Ok(None) };
        let status = asked.engine.command_status(&asked.by, run).await.map_err(|error| asked.refuse(error))?;
        status.as_deref().map(CommandStatus::of).transpose()
    }
}

#[ComplexObject]
impl CancelCommandPayload {
    /// The command as it stands now.
    async fn command(&self, context: &Context<'_>) -> Result<Option<Command>> {
        Command::by_id(context, self.run).await
    }
}

#[ComplexObject]
impl SendSignalPayload {
    /// The command as it stands now.
    async fn command(&self, context: &Context<'_>) -> Result<Option<Command>> {
        Command::by_id(context, self.run).await
    }
}

/// Everything that can be asked to happen.
#[Object]
impl Mutation {
    /// Submits a command. Once this answers it survives any crash.
    async fn submit_command(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The command.")] input: SubmitCommandInput,
    ) -> Result<SubmitCommandPayload> {
        let asked = Asked::of(context)?;
        let dry_run = input.dry_run;
        let submission = input.submission(asked)?;
        let (kind, payload) = (submission.kind.clone(), submission.payload.clone());
        let refuse = |error| asked.refuse(Refusal::Submit { error, kind, payload });
        if dry_run {
            asked.engine.check(&asked.by, &submission).await.map_err(refuse)?;
            return Ok(SubmitCommandPayload { command_id: None, replayed: false, run: None });
        }
        let receipt = asked.engine.submit(&asked.by, submission).await.map_err(refuse)?;
        let (command_id, replayed) = (Some(ID(receipt.command_id.to_string())), receipt.replayed);
        Ok(SubmitCommandPayload { command_id, replayed, run: Some(receipt.command_id) })
    }

    /// Cancels a command. One that has not started ends at once; any other at its next checkpoint,
    /// after an action in flight is settled.
    async fn cancel_command(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The command.")] id: ID,
        #[graphql(desc = "Why, for the record.")] reason: Option<String>,
    ) -> Result<CancelCommandPayload> {
        let asked = Asked::of(context)?;
        let run: RunId = asked.id("/id", &id)?;
        let cancelled = asked.engine.cancel(&asked.by, run, reason.unwrap_or_default()).await;
        let status = match cancelled.map_err(|error| asked.refuse(error))? {
            Cancelled::Done => CommandStatus::Cancelled,
            Cancelled::Underway => CommandStatus::Cancelling,
        };
        Ok(CancelCommandPayload { command_id: ID(run.to_string()), status, run })
    }

    /// Sends a signal. One that comes before it is waited for is kept.
    async fn send_signal(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The command.")] id: ID,
        #[graphql(desc = "What it waits for.")] name: String,
        #[graphql(desc = "What it gets.")] payload: Option<Value>,
        #[graphql(desc = "Chosen by the sender, a UUID: the same again changes nothing.")] signal_id: Option<ID>,
    ) -> Result<SendSignalPayload> {
        let asked = Asked::of(context)?;
        let run: RunId = asked.id("/id", &id)?;
        let id = asked.some_id("/signalId", signal_id.as_ref())?;
        let signal = NewSignal { id, name, payload: payload.unwrap_or_default() };
        let sent = asked.engine.signal(&asked.by, run, signal).await.map_err(|error| asked.refuse(error))?;
        Ok(SendSignalPayload { signal_id: ID(sent.to_string()), command_id: ID(run.to_string()), run })
    }

    /// Decides a gate. The first decision wins; a later one is refused.
    async fn decide_gate(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The gate.")] id: ID,
        #[graphql(desc = "Yes or no.")] decision: Decision,
        #[graphql(desc = "Why, for the record.")] comment: Option<String>,
        #[graphql(desc = "What the person adds or corrects.")] outputs: Option<Value>,
    ) -> Result<DecideGatePayload> {
        let asked = Asked::of(context)?;
        let gate: GateId = asked.id("/id", &id)?;
        let approve = decision == Decision::Approve;
        let decision = EngineDecision { approve, comment, outputs: outputs.unwrap_or_default() };
        let decided = asked.engine.decide(&asked.by, gate, decision).await.map_err(|error| asked.refuse(error))?;
        Ok(DecideGatePayload { gate: decided.into() })
    }
}

impl SubmitCommandInput {
    fn submission(self, asked: &Asked) -> Result<Submission> {
        let client_id =
            asked.by.client_for(self.client_id, asked.engine.default_client()).map_err(|none| match none {
                NoClient::Denied(denied) => asked.refuse(denied),
                NoClient::Unnamed => asked.invalid("/input/clientId", none.to_string()),
            })?;
        let fits =
            |key: &str| (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if self.idempotency_key.as_deref().is_some_and(|key| !fits(key)) {
            let message = format!("must be 1 to {MAX_KEY_BYTES} visible ASCII characters");
            return Err(asked.invalid("/input/idempotencyKey", message));
        }
        let priority = self.priority.map(u8::try_from).transpose();
        Ok(Submission {
            client_id,
            kind: self.r#type,
            payload: self.payload,
            platform: self.platform,
            account_id: self.account_id,
            session_id: self.session_id,
            idempotency_key: self.idempotency_key,
            correlation_id: self.correlation_id,
            priority: priority.map_err(|_| asked.invalid("/input/priority", "must be 0 to 9"))?,
            not_before: self.not_before.map(|time| time.0),
            deadline: self.deadline.map(|time| time.0),
            policy: policy(self.policy, self.approval),
            caller: asked.caller,
        })
    }
}

/// The bounds as they are stored: what was left out is not there, as with REST, so that the same
/// command has the same fingerprint whichever way it came.
fn policy(policy: Option<CommandPolicyInput>, approval: Option<bool>) -> Option<Value> {
    if policy.is_none() && approval.is_none() {
        return None;
    }
    let bounds = policy.unwrap_or_default();
    let mut all = json!({});
    if let Some(most) = bounds.max_retries {
        all["max_retries"] = most.into();
    }
    if let Some(most) = bounds.max_duration_s {
        all["max_duration_s"] = most.into();
    }
    if let Some(approval) = approval {
        all["approval"] = approval.into();
    }
    Some(all)
}
