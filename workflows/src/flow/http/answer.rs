//! What an answer means: for a step that reads, for a look, and for the one call of an effect.

use std::collections::BTreeMap;
use std::time::Duration;

use fermata_engine::effect::{AccountTrouble, CallOutcome, Evidence, Fingerprint, Receipt, Sighting, THROTTLED};
use fermata_engine::workflow::{Failure, StepError};
use serde_json::{Map, Value, json};

use super::lane::HttpError;
use crate::flow::document::{HttpCall, HttpExpect, HttpLook};

/// An answer, read whole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    /// What the platform called its answer (`x-request-id`, `request-id`).
    pub(crate) id: Option<String>,
    pub(crate) body: Value,
}

/// What a request came back with.
pub(crate) type Answered = Result<Answer, HttpError>;

/// What a reading request gave.
pub(crate) type Found = Map<String, Value>;

/// Statuses by which a platform says that it did not do what was asked.
const REFUSALS: [u16; 9] = [400, 403, 404, 405, 409, 410, 413, 415, 422];

/// Means that the platform is still busy with an earlier request of the same key, when it
/// honours keys.
const CONFLICT: u16 = 409;

/// Means that the platform does not know, or no longer takes, whoever asks (RFC 9110, section 15.5.2).
const UNAUTHORIZED: u16 = 401;

/// Means that the platform wants to be asked less (RFC 6585, section 4).
const TOO_MANY: u16 = 429;

impl Answer {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn is_expected(&self, expect: Option<&HttpExpect>) -> bool {
        match expect.map(|expect| expect.status.as_slice()) {
            None | Some([]) => self.is_success(),
            Some(statuses) => statuses.contains(&self.status),
        }
    }

    fn broken_assertion(&self, expect: Option<&HttpExpect>) -> Option<String> {
        let assertions = expect.into_iter().flat_map(|expect| &expect.body);
        let mut broken = assertions.filter(|assertion| !assertion.is.holds(self.at(&assertion.at)));
        broken.next().map(|assertion| format!("what is expected at `{}` does not hold", assertion.at))
    }

    fn at(&self, pointer: &str) -> &Value {
        self.body.pointer(pointer).unwrap_or(&Value::Null)
    }

    fn saved(&self, call: &HttpCall) -> Found {
        call.save.iter().map(|(name, at)| (name.clone(), self.at(at).clone())).collect()
    }

    /// What was saved of it, and what it shows.
    fn receipt(&self, call: &HttpCall) -> Receipt {
        let Receipt { output, evidence } = Receipt::from(Value::Object(self.saved(call)));
        Receipt {
            output,
            evidence: Evidence { http_status: Some(self.status), response_id: self.id.clone(), ..evidence },
        }
    }

    /// The platform does not take the login of the account that it was asked for.
    fn unauthorized(&self) -> Failure {
        self.failure(AccountTrouble::Auth.code(), "the platform does not take the account's login")
    }

    fn failure(&self, code: &str, what: &str) -> Failure {
        Failure::new(code, format!("{what} (status {})", self.status)).with_details(json!({ "status": self.status }))
    }
}

/// What an answer means for a request that changes nothing.
pub(crate) fn read_outcome(call: &HttpCall, answer: Result<Answer, HttpError>) -> Result<Found, StepError> {
    let answer = answer?;
    if !answer.is_expected(call.expect.as_ref()) {
        return Err(unexpected(&answer));
    }
    if let Some(broken) = answer.broken_assertion(call.expect.as_ref()) {
        return Err(StepError::Fail(answer.failure("assertion_failed", &broken)));
    }
    let mut found = answer.saved(call);
    found.entry("status").or_insert_with(|| answer.status.into());
    Ok(found)
}

/// What an answer means for a look.
pub(crate) fn sighting(look: &HttpLook, answer: Result<Answer, HttpError>) -> Result<Sighting, StepError> {
    let answer = answer?;
    if look.absent_status.contains(&answer.status) {
        return Ok(Sighting::Absent);
    }
    as_asked(&look.request, &answer)?;
    let present = look.present.iter().all(|assertion| assertion.is.holds(answer.at(&assertion.at)));
    Ok(if present { Sighting::Present(answer.receipt(&look.request)) } else { Sighting::Absent })
}

/// Who the platform says that a call would act as.
pub(crate) fn identified(call: &HttpCall, answer: Result<Answer, HttpError>) -> Result<Fingerprint, StepError> {
    let answer = answer?;
    as_asked(call, &answer)?;
    let said = answer.saved(call).into_iter().filter_map(|(name, said)| match said {
        Value::String(text) if !text.is_empty() => Some((name, text)),
        Value::Number(number) => Some((name, number.to_string())),
        _ => None,
    });
    let mut ids: BTreeMap<String, String> = said.collect();
    let Some(id) = ids.remove("id") else {
        let why = "the platform does not say as whom it would act";
        return Err(StepError::Fail(answer.failure("identity_unread", why)));
    };
    let (handle, display_name) = (ids.remove("handle"), ids.remove("display_name"));
    Ok(Fingerprint { id, handle, display_name, ids })
}

/// Whether the answer to a request that an effect reads with is such as it says.
fn as_asked(call: &HttpCall, answer: &Answer) -> Result<(), StepError> {
    let expect = call.expect.as_ref();
    if !answer.is_expected(expect) {
        return Err(if answer.status == UNAUTHORIZED { answer.unauthorized().into() } else { unexpected(answer) });
    }
    match answer.broken_assertion(expect) {
        Some(broken) => Err(StepError::Fail(answer.failure("assertion_failed", &broken))),
        None => Ok(()),
    }
}

/// What an answer means for the call of an effect. Only what proves that nothing was done is a
/// refusal; everything that proves neither is ambiguous.
pub(crate) fn call_outcome(call: &HttpCall, honours_keys: bool, answer: Result<Answer, HttpError>) -> CallOutcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if error.nothing_was_sent() => {
            let retry = error.is_transient();
            return CallOutcome::Refused { failure: failure_of(&error), retry, after: None };
        }
        Err(error) => return CallOutcome::Ambiguous(failure_of(&error)),
    };
    let expect = call.expect.as_ref();
    if answer.is_success() {
        return match answer.broken_assertion(expect) {
            None if answer.is_expected(expect) => CallOutcome::Done(answer.receipt(call)),
            broken => {
                let what = broken.unwrap_or_else(|| "the platform accepted it in an unexpected way".to_owned());
                CallOutcome::Ambiguous(answer.failure("platform_unclear", &what))
            }
        };
    }
    match answer.status {
        TOO_MANY => CallOutcome::Refused {
            failure: answer.failure(THROTTLED, "the platform asks to slow down"),
            retry: true,
            after: answer.retry_after,
        },
        UNAUTHORIZED => CallOutcome::Refused { failure: answer.unauthorized(), retry: false, after: None },
        CONFLICT if honours_keys => {
            CallOutcome::Ambiguous(answer.failure("platform_unclear", "the platform has seen this key before"))
        }
        status if REFUSALS.contains(&status) => CallOutcome::Refused {
            failure: answer.failure("platform_refused", "the platform refused"),
            retry: false,
            after: None,
        },
        _ => CallOutcome::Ambiguous(answer.failure("platform_unclear", "the answer does not say whether it was done")),
    }
}

impl From<HttpError> for StepError {
    fn from(error: HttpError) -> Self {
        let failure = failure_of(&error);
        if error.is_transient() { Self::Retry { failure, after: None } } else { Self::Fail(failure) }
    }
}

fn unexpected(answer: &Answer) -> StepError {
    match answer.status {
        TOO_MANY => StepError::Retry {
            failure: answer.failure(THROTTLED, "the platform asks to slow down"),
            after: answer.retry_after,
        },
        408 | 500.. => StepError::Retry {
            failure: answer.failure("platform_busy", "the platform could not answer now"),
            after: answer.retry_after,
        },
        _ => StepError::Fail(answer.failure("platform_refused", "the platform did not answer as expected")),
    }
}

fn failure_of(error: &HttpError) -> Failure {
    let code = match error {
        HttpError::Fill(_) | HttpError::Address { .. } | HttpError::Header { .. } => "request_invalid",
        HttpError::NotAllowed { .. } => "host_not_allowed",
        HttpError::Connect { .. } | HttpError::Lost { .. } | HttpError::Timeout { .. } => "platform_unreachable",
        HttpError::TooLarge { .. } => "answer_too_large",
        HttpError::Client(_) => "http_unavailable",
    };
    Failure::new(code, error.to_string())
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "`json!` reads better at the call")]
mod tests {
    use super::*;

    fn call(extra: Value) -> HttpCall {
        let mut call = json!({"method": "POST", "url": "http://h", "save": {"id": "/id", "none": "/none"}});
        call.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value(call).unwrap()
    }

    fn answer(status: u16) -> Answer {
        Answer {
            status,
            retry_after: Some(Duration::from_secs(9)),
            id: Some("r1".into()),
            body: json!({"id": "p1", "live": true}),
        }
    }

    fn timeout() -> HttpError {
        HttpError::Timeout { host: "h".into(), time: Duration::from_secs(1) }
    }

    #[test]
    fn only_a_definite_refusal_disproves_a_call() {
        let expected = [
            (200, "done"),
            (201, "done"),
            (204, "done"),
            (301, "ambiguous"),
            (307, "ambiguous"),
            (400, "refused"),
            (401, "refused"),
            (403, "refused"),
            (404, "refused"),
            (409, "refused"),
            (422, "refused"),
            (408, "ambiguous"),
            (418, "ambiguous"),
            (425, "ambiguous"),
            (429, "later"),
            (500, "ambiguous"),
            (502, "ambiguous"),
            (503, "ambiguous"),
            (504, "ambiguous"),
        ];
        for (status, meaning) in expected {
            let got = match call_outcome(&call(json!({})), false, Ok(answer(status))) {
                CallOutcome::Done(receipt) => {
                    assert_eq!(receipt.output, json!({"id": "p1", "none": null}));
                    let shown = Evidence {
                        object_id: Some("p1".into()),
                        http_status: Some(status),
                        response_id: Some("r1".into()),
                        ..Evidence::default()
                    };
                    assert_eq!(receipt.evidence, shown);
                    "done"
                }
                CallOutcome::Refused { retry: false, .. } => "refused",
                CallOutcome::Refused { failure, retry: true, after } => {
                    assert_eq!(failure.code, THROTTLED);
                    assert_eq!(after, Some(Duration::from_secs(9)));
                    "later"
                }
                CallOutcome::Ambiguous(_) => "ambiguous",
            };
            assert_eq!(got, meaning, "{status}");
        }
    }

    #[test]
    fn a_success_that_is_not_the_expected_one_is_ambiguous() {
        let picky = call(json!({"expect": {"status": [201], "body": [{"at": "/live", "is": {"equals": true}}]}}));
        assert!(matches!(call_outcome(&picky, false, Ok(answer(201))), CallOutcome::Done(_)));
        assert!(matches!(call_outcome(&picky, false, Ok(answer(200))), CallOutcome::Ambiguous(_)));
        let dead = Answer { body: json!({"live": false}), ..answer(201) };
        assert!(matches!(call_outcome(&picky, false, Ok(dead)), CallOutcome::Ambiguous(_)));
    }

    #[test]
    fn a_conflict_on_a_platform_with_keys_may_be_our_own_earlier_call() {
        assert!(matches!(call_outcome(&call(json!({})), true, Ok(answer(409))), CallOutcome::Ambiguous(_)));
    }

    #[test]
    fn what_was_perhaps_sent_is_ambiguous_and_what_was_not_is_refused() {
        assert!(matches!(call_outcome(&call(json!({})), false, Err(timeout())), CallOutcome::Ambiguous(_)));
        let stopped = HttpError::NotAllowed { host: "h".into() };
        let outcome = call_outcome(&call(json!({})), false, Err(stopped));
        assert!(matches!(outcome, CallOutcome::Refused { retry: false, .. }));
    }

    #[test]
    fn reading_is_tried_again_only_when_that_may_help() {
        let read = |status| read_outcome(&call(json!({})), Ok(answer(status)));
        assert_eq!(read(200).unwrap()["status"], 200);
        for status in [408, 429, 500, 503] {
            let Err(StepError::Retry { after, .. }) = read(status) else { panic!("{status}") };
            assert_eq!(after, Some(Duration::from_secs(9)));
        }
        for status in [302, 400, 401, 404, 422] {
            assert!(matches!(read(status), Err(StepError::Fail(_))), "{status}");
        }
        assert!(matches!(read_outcome(&call(json!({})), Err(timeout())), Err(StepError::Retry { .. })));
    }

    #[test]
    fn a_look_sees_presence_absence_or_nothing_at_all() {
        let look: HttpLook = serde_json::from_value(json!({
            "request": {"method": "GET", "url": "http://h", "save": {"id": "/posts/0/id"}},
            "present": [{"at": "/posts/0", "is": "present"}], "absent_status": [404]}))
        .unwrap();
        let see = |status, body| sighting(&look, Ok(Answer { status, retry_after: None, id: None, body }));
        let Ok(Sighting::Present(seen)) = see(200, json!({"posts": [{"id": "x"}]})) else { panic!("not seen") };
        assert_eq!((seen.output, seen.evidence.object_id), (json!({"id": "x"}), Some("x".into())));
        assert_eq!(see(200, json!({"posts": []})), Ok(Sighting::Absent));
        assert_eq!(see(404, Value::Null), Ok(Sighting::Absent));
        assert!(see(500, json!({"posts": []})).is_err());
        assert!(see(401, Value::Null).is_err());
    }

    #[test]
    fn whom_the_platform_names_is_who_it_would_act_as_and_silence_is_nobody() {
        let call: HttpCall = serde_json::from_value(json!({"method": "GET", "url": "http://h", "save": {
            "id": "/id", "handle": "/name", "display_name": "/none", "page_id": "/page"}}))
        .unwrap();
        let said = |status, body| identified(&call, Ok(Answer { status, retry_after: None, id: None, body }));
        let ids = BTreeMap::from([("page_id".to_owned(), "9".to_owned())]);
        let wanted = Fingerprint { id: "7".into(), handle: Some("ada".into()), display_name: None, ids };
        assert_eq!(said(200, json!({"id": 7, "name": "ada", "page": "9"})), Ok(wanted));
        for body in [json!({"id": ""}), json!({"id": null}), json!({"id": {"a": 1}}), json!({}), Value::Null] {
            let Err(StepError::Fail(failure)) = said(200, body.clone()) else { panic!("{body}") };
            assert_eq!(failure.code, "identity_unread");
        }
        for status in [408, 429, 500, 503] {
            assert!(matches!(said(status, json!({"id": 7})), Err(StepError::Retry { .. })), "{status}");
        }
        let Err(StepError::Fail(failure)) = said(401, json!({"id": 7})) else { panic!("401") };
        assert_eq!(failure.code, AccountTrouble::Auth.code());
        assert!(matches!(identified(&call, Err(timeout())), Err(StepError::Retry { .. })));
    }
}
