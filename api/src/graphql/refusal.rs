//! The words for a refusal: those of the problem that REST answers (RFC 9457), in the shape of a
//! GraphQL error.

use std::sync::Arc;

use fermata_engine::Engine;
use fermata_engine::event::FollowEnd;
use fermata_graphql::{Explain, Explained, Refusal};
use serde_json::Value;

use crate::app::AppState;
use crate::error::{Kind, Problem};
use crate::rest::commands;

/// Members of a problem that a GraphQL error has elsewhere, or says by itself.
const ELSEWHERE: [&str; 3] = ["detail", "title", "instance"];

/// Finds the words for one request's refusals.
pub(super) fn explain(app: &AppState, path: &'static str, request_id: &str) -> Explain {
    let (engine, base) = (app.engine.clone(), app.options.public_base_url.clone());
    let request_id = request_id.to_owned();
    Arc::new(move |refusal| {
        let of_submission = matches!(refusal, Refusal::Submit { .. });
        let Value::Object(mut extensions) = problem(&engine, refusal).body(&base, path, &request_id) else {
            return Explained { message: String::new(), extensions: serde_json::Map::new() };
        };
        let message = extensions.get("detail").and_then(Value::as_str).unwrap_or_default().to_owned();
        for name in ELSEWHERE {
            extensions.remove(name);
        }
        if of_submission && let Some(errors) = extensions.get_mut("errors") {
            point_into_input(errors);
        }
        Explained { message, extensions }
    })
}

fn problem(engine: &Engine, refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Read(error) => error.into(),
        Refusal::Submit { error, kind, payload } => commands::explain(engine, &kind, &payload, error),
        Refusal::Control(error) => error.into(),
        Refusal::Decide(error) => error.into(),
        Refusal::Follow(end) => followed(end),
        Refusal::Denied(denied) => denied.into(),
        Refusal::Invalid { pointer, message } => Problem::invalid(pointer, message),
        Refusal::Limit(limit) => Problem::new(Kind::Validation, limit.message).with_code(limit.code),
    }
}

/// Why a follower has ended, and where another one goes on.
fn followed(end: FollowEnd) -> Problem {
    let detail = end.to_string();
    match end {
        FollowEnd::Slow { resume } => {
            Problem::new(Kind::RateLimited, detail).with_code("slow_reader").with("resume_cursor", resume.to_string())
        }
        FollowEnd::Stopped { resume } => {
            Problem::new(Kind::NotReady, detail).with_code("stopping").with("resume_cursor", resume.to_string())
        }
        FollowEnd::Revoked(error) => error.into(),
        FollowEnd::Cursor(error) => error.into(),
        FollowEnd::Read(error) => error.into(),
    }
}

/// The pointers of REST's body as pointers into the mutation's arguments.
fn point_into_input(errors: &mut Value) {
    for error in errors.as_array_mut().into_iter().flatten() {
        if let Some(Value::String(pointer)) = error.get_mut("pointer") {
            *pointer = format!("/input{}", in_camel_case(pointer));
        }
    }
}

/// The first part of a pointer in the schema's spelling; the rest is the payload's own.
fn in_camel_case(pointer: &str) -> String {
    let (first, rest) = match pointer.get(1..).and_then(|inside| inside.find('/')) {
        Some(at) => pointer.split_at(at + 1),
        None => (pointer, ""),
    };
    let mut camel = String::with_capacity(pointer.len());
    let mut upper = false;
    for letter in first.chars() {
        match letter {
            '_' => upper = true,
            letter if upper => {
                camel.push(letter.to_ascii_uppercase());
                upper = false;
            }
            letter => camel.push(letter),
        }
    }
    camel + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_spelled_as_the_schema_spells_its_fields() {
        for (rest, graphql) in [
            ("/account_id", "/accountId"),
            ("/payload/media_urls/0", "/payload/media_urls/0"),
            ("/type", "/type"),
            ("", ""),
            ("/not_before", "/notBefore"),
        ] {
            assert_eq!(in_camel_case(rest), graphql);
        }
    }
}
