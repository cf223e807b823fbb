//! The engine's errors as problems.

use std::error::Error;

use fermata_engine::access::{AuthError, Denied, TicketError, TokenAdminError};
use fermata_engine::artifact::ArtifactError;
use fermata_engine::effect::SwitchError;
use fermata_engine::event::{CursorError, FollowEnd};
use fermata_engine::log::LogError;
use fermata_engine::policy::PolicyError;
use fermata_engine::read::ReadError;
use fermata_engine::run::{ControlError, DecideError, SubmitError};
use fermata_engine::store::StoreError;
use serde_json::json;

use super::{FieldError, Kind, Problem};

/// When to come back after the service was not there.
const RETRY_AFTER_SECS: u64 = 1;

fn unavailable(error: &StoreError) -> Problem {
    Problem::new(Kind::NotReady, error.to_string()).retry_after(RETRY_AFTER_SECS)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unreachable(source) => {
                tracing::warn!(error = source as &(dyn Error + 'static), "the database cannot be reached");
                unavailable(&error).with_code("database_unreachable")
            }
            StoreError::Lost(source) => {
                tracing::warn!(error = source as &(dyn Error + 'static), "a connection to the database broke");
                unavailable(&error).with_code("database_lost")
            }
            StoreError::Busy => unavailable(&error).with_code("busy"),
            StoreError::Stopped => unavailable(&error).with_code("stopping"),
            StoreError::Refused(_) | StoreError::Schema(_) | StoreError::Unsafe { .. } | StoreError::Pooler(_) => {
                Self::internal(&error)
            }
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let problem = Self::new(Kind::Forbidden, denied.to_string());
        match denied {
            Denied::Scope(scope) => problem.with_code("scope_missing").with("scope", scope.as_str()),
            Denied::CommandType { .. } => problem.with_code("command_type_not_allowed"),
            Denied::Client(_) => problem.with_code("client_not_allowed"),
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::Malformed => "token_malformed",
            AuthError::Unknown => "token_unknown",
            AuthError::Expired => "token_expired",
            AuthError::Store(error) => return error.into(),
        };
        Self::new(Kind::Unauthorized, error.to_string())
            .with_code(code)
            .challenge(r#"Bearer realm="fermata", error="invalid_token""#)
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let detail = error.to_string();
        match error {
            SubmitError::Invalid { pointer, message } => Self::invalid(pointer, message),
            SubmitError::UnknownType { known } => {
                Self::invalid("/type", detail).with_code("unknown_type").with("known", known)
            }
            SubmitError::Denied(denied) => denied.into(),
            SubmitError::Unregistered { .. } => Self::new(
                Kind::Forbidden,
                format!("{detail}; PUT /v1/platform-accounts/{{platform}}/{{account}} connects it"),
            )
            .with_code("account_unregistered"),
            SubmitError::Mismatch { command_id } => {
                Self::new(Kind::IdempotencyMismatch, detail).with("command_id", command_id.to_string())
            }
            SubmitError::Busy => Self::new(Kind::NotReady, detail).with_code("busy").retry_after(RETRY_AFTER_SECS),
            SubmitError::Store(error) => error.into(),
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let detail = error.to_string();
        match error {
            ControlError::NotFound => Self::new(Kind::NotFound, detail),
            ControlError::Ended => Self::new(Kind::Conflict, detail).with_code("command_ended"),
            ControlError::NotWaiting => Self::new(Kind::Conflict, detail).with_code("not_waiting"),
            ControlError::Denied(denied) => denied.into(),
            ControlError::Invalid { pointer, message } => Self::invalid(pointer, message),
            ControlError::Store(error) => error.into(),
        }
    }
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        let detail = error.to_string();
        match error {
            DecideError::NotFound => Self::new(Kind::NotFound, detail),
            DecideError::AlreadyDecided(gate) => {
                Self::new(Kind::Conflict, detail).with_code("gate_decided").with("gate", json!(gate))
            }
            DecideError::Expired => Self::new(Kind::Conflict, detail).with_code("gate_expired"),
            DecideError::NotRepeatable => Self::new(Kind::Conflict, detail).with_code("not_repeatable"),
            DecideError::Denied(denied) => denied.into(),
            DecideError::Invalid(error) => Self::invalid("", error.to_string()),
            DecideError::Store(error) => error.into(),
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Denied(denied) => denied.into(),
            LogError::Invalid { pointer, message } => Self::invalid(pointer, message),
            LogError::Store(error) => error.into(),
        }
    }
}

impl From<CursorError> for Problem {
    fn from(error: CursorError) -> Self {
        match error {
            CursorError::Expired { oldest } => {
                Self::new(Kind::CursorExpired, error.to_string()).with("oldest_cursor", oldest.to_string())
            }
            CursorError::Foreign => Self::new(Kind::CursorExpired, error.to_string()).with_code("cursor_foreign"),
            CursorError::Malformed | CursorError::Version(_) => {
                Self::invalid("/after", error.to_string()).with_code("cursor_invalid")
            }
        }
    }
}

impl From<FollowEnd> for Problem {
    fn from(end: FollowEnd) -> Self {
        let detail = end.to_string();
        match end {
            FollowEnd::Slow { resume } => {
                Self::new(Kind::Conflict, detail).with_code("slow_consumer").with("resume_cursor", resume.to_string())
            }
            FollowEnd::Stopped { resume } => {
                let problem = Self::new(Kind::NotReady, detail).with_code("stopping").retry_after(RETRY_AFTER_SECS);
                problem.with("resume_cursor", resume.to_string())
            }
            FollowEnd::Cursor(error) => error.into(),
            FollowEnd::Revoked(error) => error.into(),
            FollowEnd::Read(error) => error.into(),
        }
    }
}

impl From<TicketError> for Problem {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::NoToken => Self::new(Kind::Forbidden, error.to_string()).with_code("no_token"),
            TicketError::Random(_) => Self::internal(&error),
            TicketError::Store(error) => error.into(),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let detail = error.to_string();
        match error {
            ReadError::Denied(denied) => denied.into(),
            ReadError::NotFound(_) => Self::new(Kind::NotFound, detail),
            ReadError::Cursor(error) => error.into(),
            ReadError::Filter { name, message } => Self::invalid(format!("/{name}"), message),
            ReadError::Artifact(ArtifactError::NoSuch(_)) => Self::not_found("content"),
            ReadError::Artifact(error) => Self::internal(&error),
            ReadError::TooSlow => Self::new(Kind::Timeout, detail).retry_after(RETRY_AFTER_SECS),
            ReadError::Store(error) => error.into(),
        }
    }
}

impl From<SwitchError> for Problem {
    fn from(error: SwitchError) -> Self {
        match error {
            SwitchError::Denied(denied) => denied.into(),
            SwitchError::Invalid { pointer, message } => Self::invalid(pointer, message),
            SwitchError::Store(error) => error.into(),
        }
    }
}

impl From<PolicyError> for Problem {
    fn from(error: PolicyError) -> Self {
        let detail = error.to_string();
        match error {
            PolicyError::Denied(denied) => denied.into(),
            PolicyError::Invalid(misfits) => {
                let errors =
                    misfits.into_iter().map(|misfit| FieldError { pointer: misfit.pointer, message: misfit.message });
                Self::new(Kind::Validation, detail).with_errors(errors.collect())
            }
            PolicyError::Moved { .. } => Self::new(Kind::Conflict, detail).with_code("version_moved"),
            PolicyError::Store(error) => error.into(),
        }
    }
}

impl From<TokenAdminError> for Problem {
    fn from(error: TokenAdminError) -> Self {
        match error {
            TokenAdminError::Denied(denied) => denied.into(),
            TokenAdminError::Invalid { pointer, message } => Self::invalid(pointer, message),
            TokenAdminError::NotFound => Self::new(Kind::NotFound, error.to_string()),
            TokenAdminError::Random(_) => Self::internal(&error),
            TokenAdminError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use fermata_engine::access::Scope;
    use fermata_engine::event::Cursor;
    use fermata_engine::id::RunId;

    use super::*;
    use crate::error::ProblemBody;
    use axum::http::StatusCode;
    use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
    use axum::response::IntoResponse as _;

    fn status(problem: impl Into<Problem>) -> u16 {
        problem.into().kind().status().as_u16()
    }

    fn invalid() -> SubmitError {
        SubmitError::Invalid { pointer: "/priority".into(), message: "must be 0 to 9".into() }
    }

    #[test]
    fn bad_input_is_never_our_fault() {
        assert_eq!(status(invalid()), 400);
        assert_eq!(status(SubmitError::UnknownType { known: vec!["flow.run".into()] }), 400);
        assert_eq!(status(SubmitError::Mismatch { command_id: RunId(uuid::Uuid::nil()) }), 409);
        assert_eq!(status(ControlError::NotFound), 404);
        assert_eq!(status(ControlError::Ended), 409);
        assert_eq!(status(ControlError::NotWaiting), 409);
        assert_eq!(status(DecideError::Expired), 409);
        assert_eq!(status(DecideError::NotRepeatable), 409);
        assert_eq!(status(Denied::Scope(Scope::Admin)), 403);
        assert_eq!(status(AuthError::Unknown), 401);
        assert_eq!(status(CursorError::Malformed), 400);
        assert_eq!(status(CursorError::Expired { oldest: Cursor::at(1) }), 410);
    }

    #[test]
    fn what_passes_says_when_to_come_back() {
        for problem in [Problem::from(StoreError::Busy), StoreError::Stopped.into(), SubmitError::Busy.into()] {
            assert_eq!(problem.kind().status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(problem.clone().into_response().headers()[RETRY_AFTER], "1");
            assert_eq!(problem.body("", "/", "r")["retry_after_s"], 1);
        }
    }

    #[test]
    fn a_body_has_every_member_of_the_contract() {
        let body = Problem::from(invalid()).body("https://f.example", "/v1/commands", "r-1");
        let wanted = json!({
            "type": "https://f.example/problems/validation", "title": "The request does not fit", "status": 400,
            "detail": "/priority: must be 0 to 9", "instance": "/v1/commands", "code": "validation",
            "requestId": "r-1", "errors": [{"pointer": "/priority", "message": "must be 0 to 9"}],
        });
        assert_eq!(body, wanted);
        serde_json::from_value::<ProblemBody>(body).unwrap();
    }

    #[test]
    fn a_refused_scope_is_named() {
        let body = Problem::from(Denied::Scope(Scope::CommandsWrite)).body("", "/", "r");
        assert_eq!((body["scope"].as_str(), body["status"].as_u64()), (Some("commands:write"), Some(403)));
        assert!(body["detail"].as_str().unwrap().contains("commands:write"));
    }

    #[test]
    fn every_slug_is_one_of_its_own() {
        let slugs: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
    }

    #[test]
    fn an_unauthenticated_answer_names_the_scheme() {
        let response = Problem::from(AuthError::Expired).into_response();
        assert!(response.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer"));
    }
}
