//! What strangers post as a command.

use fermata_corpus::Target;
use fermata_engine::document;

use super::*;

/// A refusal is the caller's to mend, and says where: at something that is there, or at what is missing.
fn check_problem(problem: &Problem, bytes: &[u8]) {
    let body = problem.body("", "/v1/commands", "r");
    let sent = serde_json::from_slice::<Value>(bytes).ok();
    assert!((400..500).contains(&body["status"].as_u64().unwrap()), "{body}");
    let errors = body["errors"].as_array().unwrap();
    assert!((1..=20).contains(&errors.len()), "{} errors", errors.len());
    for error in errors {
        let (pointer, message) = (error["pointer"].as_str().unwrap(), error["message"].as_str().unwrap());
        let place = sent.as_ref().map(|sent| sent.pointer(pointer).is_some());
        let missing = || {
            let above = pointer.rsplit_once('/').map(|(above, _)| above);
            above.is_some_and(|above| sent.as_ref().and_then(|sent| sent.pointer(above)).is_some_and(Value::is_object))
        };
        assert!(!message.is_empty(), "{body}");
        let points = match place {
            Some(resolves) => resolves || (message == "is required" && missing()),
            None => pointer.is_empty(),
        };
        assert!(points, "`{pointer}` ({message}) is nowhere in the body");
    }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, item)| [vec![name.as_str()], texts(item)].concat()).collect()
        }
        _ => Vec::new(),
    }
}

/// A command that fits means the same however often it is written and read.
fn check_submission(submission: &Submission) {
    assert!(document::check(&submission.payload).is_ok());
    let raw = document::raw(&submission.payload);
    let again: Value = serde_json::from_str(raw.get()).unwrap();
    assert_eq!(again, submission.payload, "what is written is read again");
    assert_eq!(document::fingerprint(&again), document::fingerprint(&submission.payload));
    assert_eq!(document::raw(&again).get(), raw.get());
    let keys = [&submission.platform, &submission.account_id, &submission.session_id, &submission.correlation_id];
    for key in keys.into_iter().chain([&submission.idempotency_key]).flatten() {
        assert!((1..=MAX_KEY_BYTES).contains(&key.len()) && !key.contains('\0'), "{key:?}");
    }
    assert!(submission.priority.is_none_or(|priority| priority <= 9));
    let times = json!([submission.not_before, submission.deadline]);
    let read: [Option<DateTime<Utc>>; 2] = serde_json::from_value(times).unwrap();
    assert_eq!(read, [submission.not_before, submission.deadline], "times are written as they were read");
}

#[test]
fn fuzz_a_command_is_refused_with_the_place_or_can_be_stored() {
    let (by, context) = (Principal::operator(), RequestContext { id: "r".into(), trace: None });
    Target::new("command", 2_000).holds(|bytes| {
        let request = match body::parse::<CommandRequest>(bytes) {
            Ok(request) => request,
            Err(problem) => return check_problem(&problem, bytes),
        };
        let sent: Value = serde_json::from_slice(bytes).unwrap();
        assert!(!texts(&sent).iter().any(|text| text.contains('\0')), "no NUL gets further than the body");
        let submission = match submission(request, &by, &HeaderMap::new(), &context, Some("acme")) {
            Ok(submission) => submission,
            Err(problem) => return check_problem(&problem, bytes),
        };
        match submission.check() {
            Ok(()) => check_submission(&submission),
            Err(error) => check_problem(&error.into(), bytes),
        }
    });
}
