//! GraphQL over HTTP: mounts the schema of the `graphql` crate behind a token.
//!
//! Owns nothing of the schema; a request's principal goes along as data, and the engine decides.

use async_graphql_axum::{GraphQLRequest, GraphQLResponse};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use fermata_graphql::FermataSchema;

use crate::app::{AppState, Mounts};
use crate::auth::Caller;

/// `POST /graphql`, for a caller with a token.
pub fn mounts() -> Mounts {
    let schema = fermata_graphql::schema();
    let answer = move |State(app): State<AppState>, Caller(by): Caller, request: GraphQLRequest| {
        execute(schema.clone(), app, by, request)
    };
    Mounts { protected: Router::new().route("/graphql", post(answer)), open: Router::new() }
}

async fn execute(
    schema: FermataSchema,
    app: AppState,
    by: fermata_engine::access::Principal,
    request: GraphQLRequest,
) -> GraphQLResponse {
    schema.execute(request.into_inner().data(app.engine).data(by)).await.into()
}
