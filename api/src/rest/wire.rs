//! Wire shapes by name. The shapes themselves are the engine's views and the requests of this
//! folder, described by `schemars`; `utoipa` only refers to them (see `openapi.rs`).

use std::borrow::Cow;

use fermata_engine::read::Paged;
use fermata_engine::{access, effect, policy, read};
use schemars::{JsonSchema, SchemaGenerator};
use utoipa::openapi::schema::{KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{
    accounts, commands, control, gates, kill_switches, policies, probes, problems, schemas, tickets, tokens, workflows,
};
use crate::error;

macro_rules! wire {
    ($($name:ident: $shape:ty),+ $(,)?) => {
        $(
            #[doc = concat!("Stands for the wire shape `", stringify!($name), "`.")]
            #[derive(Debug, Clone, Copy)]
            pub(crate) struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    ObjectBuilder::new().into()
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    Cow::Borrowed(stringify!($name))
                }
            }
        )+

        /// Puts the real shapes into the generator, and answers their names as used in the document
        /// and as given by the generator. The two must agree.
        pub(crate) fn collect(generator: &mut SchemaGenerator) -> Vec<(&'static str, Cow<'static, str>)> {
            vec![$({
                drop(generator.subschema_for::<$shape>());
                (stringify!($name), <$shape as JsonSchema>::schema_name())
            },)+]
        }
    };
}

wire! {
    AccountConnectRequest: accounts::AccountConnectRequest,
    AccountModeRequest: accounts::AccountModeRequest,
    AccountSettings: effect::AccountSettings,
    Action: read::ActionView,
    ActionList: Paged<read::ActionView>,
    Artifact: read::ArtifactView,
    ArtifactList: Paged<read::ArtifactView>,
    AuditEventList: Paged<fermata_engine::audit::AuditEvent>,
    CancelRequest: control::CancelRequest,
    Command: read::CommandView,
    CommandAccepted: commands::CommandAccepted,
    CommandList: Paged<read::CommandView>,
    CommandMoved: control::CommandMoved,
    CommandRequest: commands::CommandRequest,
    CommandValid: commands::CommandValid,
    Decision: gates::DecisionRequest,
    EventList: read::EventPage,
    Gate: read::GateView,
    GateList: Paged<read::GateView>,
    Health: probes::Health,
    KillSwitch: effect::KillSwitch,
    KillSwitchList: Paged<effect::KillSwitch>,
    KillSwitchRequest: kill_switches::SwitchRequest,
    PlatformAccount: effect::AccountView,
    PlatformAccountList: Paged<effect::AccountView>,
    Policy: policy::PolicyView,
    PolicyDocument: policy::PolicyDocument,
    PolicyEvaluation: policy::Evaluation,
    PolicyList: Paged<policy::PolicyView>,
    Problem: error::ProblemBody,
    ProblemPage: error::pages::PageView,
    ProblemPageList: problems::ProblemPageList,
    ProofBundle: fermata_engine::audit::ProofBundle,
    Proposal: policies::EvaluationRequest,
    Readiness: probes::Readiness,
    ResumeRequest: control::ResumeRequest,
    RotateRequest: tokens::RotateRequest,
    SchemaList: schemas::SchemaList,
    SignalAccepted: control::SignalAccepted,
    SignalRequest: control::SignalRequest,
    StepList: Paged<read::StepView>,
    TicketSold: tickets::TicketSold,
    TokenCreated: tokens::TokenCreated,
    TokenList: Paged<access::TokenView>,
    TokenRequest: tokens::TokenRequest,
    Verification: fermata_engine::audit::Verification,
    VerifyRequest: super::audit::VerifyRequest,
    Workflow: workflows::WorkflowView,
    WorkflowList: workflows::WorkflowList,
}

/// Bytes of any media type. Generated clients take a list of bytes for a JSON list of numbers, and
/// this for what it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes;

impl PartialSchema for Bytes {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

impl ToSchema for Bytes {}
