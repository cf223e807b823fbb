//! The words for a refusal: those of the problem that REST answers (RFC 9457), in the shape of a
//! GraphQL error.

use std::sync::Arc;

use fermata_engine::Engine;
use fermata_engine::event::FollowEnd;
use fermata_graphql::{Explain, Explained, Refusal};
use serde_json::{Map, Value};

use crate::app::AppState;
use crate::error::{Kind, Problem};
use crate::rest::commands;
use crate::rest::doubt::doubted;

/// Members of a problem that a GraphQL error has elsewhere, or says by itself.
const ELSEWHERE: [&str; 3] = ["detail", "title", "instance"];

/// What the words for one request's refusals need.
#[derive(Debug, Clone)]
pub(super) struct Words {
    base: String,
    path: &'static str,
    request_id: String,
}

impl Words {
    /// Of a request.
    pub(super) fn new(app: &AppState, path: &'static str, request_id: &str) -> Self {
        Self { base: app.options.public_base_url.clone(), path, request_id: request_id.to_owned() }
    }

    /// Finds them for whatever the schema refuses.
    pub(super) fn explain(self, engine: Engine) -> Explain {
        Arc::new(move |refusal| {
            let of_submission = matches!(refusal, Refusal::Submit { .. });
            let mut explained = self.of(&problem(&engine, refusal));
            if of_submission && let Some(errors) = explained.extensions.get_mut("errors") {
                point_into_input(errors);
            }
            explained
        })
    }

    /// A problem in the shape of a GraphQL error.
    pub(super) fn of(&self, problem: &Problem) -> Explained {
        let mut extensions = match problem.body(&self.base, self.path, &self.request_id) {
            Value::Object(extensions) => extensions,
            _ => Map::new(),
        };
        for name in ELSEWHERE {
            extensions.remove(name);
        }
        Explained { message: problem.detail().to_owned(), extensions }
    }
}

fn problem(engine: &Engine, refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Read(error) => error.into(),
        Refusal::Submit { error, kind, payload } => doubted(commands::explain(engine, &kind, &payload, error)),
        Refusal::Control(error) => doubted(error.into()),
        Refusal::Decide(error) => doubted(error.into()),
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
