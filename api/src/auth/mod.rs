//! From headers to a principal. What the principal may do is decided in the engine.
//!
//! Owns the reading of credentials and the layer that no protected route can forget. To add a way
//! in, add it to `credentials.rs`; two ways at once stay an error.

mod credentials;
mod internal;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use fermata_engine::access::Principal;

use crate::app::AppState;
use crate::error::{Kind, Problem};

use credentials::{Credential, credential};
pub use internal::InternalKey;

/// Who calls, for handlers of protected routes.
#[derive(Debug, Clone)]
pub struct Caller(pub Principal);

/// Who called, for the log line; put on the response.
#[derive(Debug, Clone)]
pub(crate) struct Actor(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}

/// Lets a request through with its [`Caller`], or refuses it.
pub async fn authenticate(State(app): State<AppState>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let principal = principal(&app, request.headers()).await?.ok_or_else(missing)?;
    let actor = Actor(principal.name.clone());
    request.extensions_mut().insert(Caller(principal));
    let mut response = next.run(request).await;
    response.extensions_mut().insert(actor);
    Ok(response)
}

/// Who the headers say it is; `None` when they say nothing.
pub(crate) async fn principal(app: &AppState, headers: &HeaderMap) -> Result<Option<Principal>, Problem> {
    match credential(headers)? {
        None => Ok(None),
        Some(Credential::Token(token)) => Ok(Some(app.engine.authenticate(token).await?)),
        Some(Credential::InternalKey(given)) => match &app.options.internal_key {
            Some(key) if key.is(given) => Ok(Some(Principal::internal())),
            _ => Err(Problem::new(Kind::Unauthorized, "that is not the internal key of this installation")
                .with_code("internal_key_unknown")),
        },
    }
}

fn missing() -> Problem {
    Problem::new(Kind::Unauthorized, "send a token: `Authorization: Bearer …` or `X-API-Key: …`")
        .with_code("token_missing")
        .challenge(r#"Bearer realm="fermata""#)
}
