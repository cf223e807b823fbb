//! GraphQL over HTTP: the schema of the `graphql` crate behind a token.
//!
//! Owns the way in (`request.rs`), the answer's media type and status (`response.rs`), the words
//! for refusals (`refusal.rs`, the same as REST's), subscriptions (`socket/`) and the vendored
//! GraphiQL (`graphiql.rs`).
//! Knows nothing of the schema; a request's principal goes along as data, and the engine decides.

mod graphiql;
mod refusal;
mod request;
mod response;
mod socket;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use fermata_graphql::persisted::Library;
use fermata_graphql::{Asked, FermataSchema};

use crate::app::{AppState, Mounts};
use crate::auth::Caller;
use crate::error::Problem;
use crate::rest::RequestContext;
use refusal::Words;
use request::{Refused, Sent};

/// Where requests come in.
pub(crate) const PATH: &str = "/graphql";

/// Switches of this surface.
#[derive(Debug, Clone, Copy, Default)]
pub struct GraphqlOptions {
    /// Answer persisted documents only (`GRAPHQL_PERSISTED_ONLY`).
    pub persisted_only: bool,
    /// Serve GraphiQL (`GRAPHIQL`).
    pub graphiql: bool,
}

/// What every request needs.
#[derive(Clone)]
struct Surface {
    schema: FermataSchema,
    library: Arc<Library>,
}

/// `GET` and `POST /graphql`, for a caller with a token; `/graphql/ws`, on both ports; and GraphiQL where
/// it is wanted.
pub fn mounts(options: GraphqlOptions) -> Mounts {
    let library = Arc::new(Library::new(options.persisted_only));
    let surface = Surface { schema: fermata_graphql::schema(), library };
    let protected = Router::new().route(PATH, get(answer).post(answer)).layer(Extension(surface.clone()));
    let socket = socket::route(surface);
    let open = if options.graphiql { socket.clone().merge(graphiql::pages()) } else { socket.clone() };
    Mounts { protected, open, telemetry: socket }
}

#[expect(clippy::too_many_arguments, reason = "each is an extractor")]
async fn answer(
    State(app): State<AppState>,
    Extension(surface): Extension<Surface>,
    Extension(context): Extension<RequestContext>,
    Caller(by): Caller,
    headers: HeaderMap,
    request: axum::extract::Request,
) -> Result<Response, Problem> {
    let media = response::media(&headers);
    let queries_only = request.method() != axum::http::Method::POST;
    let explain = Words::new(&app, PATH, &context.id).explain(app.engine.clone());
    let sent = match Sent::read(request, app.options.max_body_bytes).await {
        Ok(sent) => sent,
        Err(Refused::Problem(problem)) => return Err(problem),
        Err(Refused::Limit(limit)) => return Ok(response::unreadable(media, (*explain)(limit.into()))),
    };
    let request = match sent.request(&surface.library) {
        Ok(request) => request,
        Err(limit) => return Ok(response::refused(media, (*explain)(limit.into()))),
    };
    let asked = Asked { engine: app.engine.clone(), by, queries_only, caller: context.trace, explain };
    Ok(response::executed(media, fermata_graphql::execute(&surface.schema, request, asked).await))
}
