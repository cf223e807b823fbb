//! What is said when nobody can tell whether a change was committed.
//!
//! A connection that breaks while a commit is under way, and an answer that is waited for no longer,
//! leave the same doubt. It is said plainly, with what to do: never a silent "try again".

use std::time::Duration;

use axum::extract::Request;
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::error::{Kind, Problem};

/// The word for programs.
const CODE: &str = "commit_unknown";
/// Codes of a database or node that went away under way. They are no doubt for who only reads, and
/// there is none where no connection could be had.
const GONE: [&str; 2] = ["database_lost", "stopping"];
/// When to come back.
const RETRY_AFTER_SECS: u64 = 1;

/// Stands directly around the handlers: what fails before them has changed nothing.
pub(crate) async fn own(request: Request, next: Next) -> Response {
    let may_change = !request.method().is_safe();
    let response = next.run(request).await;
    let problem = response.extensions().get::<Problem>().filter(|_| may_change);
    match problem {
        Some(problem) if is_gone(problem) => doubted(problem.clone()).into_response(),
        _ => response,
    }
}

/// Why a change failed, with the doubt said where there is one.
pub(crate) fn doubted(problem: Problem) -> Problem {
    if is_gone(&problem) { unknown(problem.kind(), problem.detail()) } else { problem }
}

fn is_gone(problem: &Problem) -> bool {
    GONE.contains(&problem.code().as_str())
}

/// The answer to a request that took too long.
pub(super) fn too_slow(method: &Method, limit: Duration) -> Response {
    let detail = format!("no answer within {} s", limit.as_secs_f64());
    if method.is_safe() {
        return Problem::new(Kind::Timeout, detail).retry_after(RETRY_AFTER_SECS).into_response();
    }
    unknown(Kind::Timeout, &detail).into_response()
}

fn unknown(kind: Kind, why: &str) -> Problem {
    let detail = format!(
        "{why}; whether this request was carried out is not known: send it again with the same idempotency key \
         (a signal: the same signal_id), or look before you send it again without one"
    );
    Problem::new(kind, detail).with_code(CODE).retry_after(RETRY_AFTER_SECS)
}
