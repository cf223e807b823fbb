//! The GraphQL schema over the engine's reads and calls.
//!
//! Owns how things look to who asks in GraphQL, the bounds of a request ([`limit`]), and the
//! documents known by id ([`persisted`]). Knows no HTTP and no SQL: a surface makes an [`Asked`]
//! of the engine, the principal and its words for refusals, and calls [`execute`]. Every resolver
//! passes the principal on, and the engine decides. Read [`Query`] first; another root field is
//! one method there, another list inside of a node one entry in `load.rs` and one method of the
//! node. After a change, `FERMATA_UPDATE=1` makes the tests rewrite `schema.graphql`.

#![expect(
    clippy::too_many_arguments,
    clippy::unused_async,
    clippy::unused_self,
    reason = "a resolver's arguments are the schema's, and async-graphql wants it async and with a receiver"
)]
#![expect(clippy::struct_field_names, reason = "a node's fields are named by the schema")]

mod asked;
pub mod filter;
pub mod limit;
mod load;
pub mod mutation;
pub mod node;
pub mod page;
pub mod persisted;
mod query;
pub mod scalar;
mod subscription;
pub mod word;

use async_graphql::{Request, Response, Schema, ValidationMode};
use futures::StreamExt as _;
use futures::stream::BoxStream;

pub use asked::{Asked, Explain, Explained, Refusal};
pub use mutation::Mutation;
pub use query::Query;
pub use subscription::Subscription;

use limit::Limits;

/// The schema, ready to execute.
pub type FermataSchema = Schema<Query, Mutation, Subscription>;

/// Builds the schema. Each request must carry an [`Asked`]: see [`execute`].
pub fn schema() -> FermataSchema {
    Schema::build(Query, Mutation, Subscription).validation_mode(ValidationMode::Strict).extension(Limits).finish()
}

/// Executes a query or a mutation.
pub async fn execute(schema: &FermataSchema, request: Request, asked: Asked) -> Response {
    let (loaders, work) = load::loaders(asked.clone());
    let request = request.data(loaders).data(asked.clone());
    let mut response = load::drive(schema.execute(request), work).await;
    limit::complete(&asked, &mut response);
    response
}

/// Executes any operation as a stream of answers: a subscription has many, the others one.
pub fn execute_stream(schema: &FermataSchema, request: Request, asked: Asked) -> BoxStream<'static, Response> {
    let (loaders, work) = load::loaders(asked.clone());
    let request = request.data(loaders).data(asked.clone());
    let answers = schema.execute_stream(request).map(move |mut response| {
        limit::complete(&asked, &mut response);
        response
    });
    load::drive_stream(answers.boxed(), work)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checked-in SDL; `FERMATA_UPDATE=1` rewrites it.
    #[test]
    fn the_checked_in_sdl_is_the_schema() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql");
        // What introspection says of a scalar, the file says, too.
        let sdl = schema().sdl_with_options(async_graphql::SDLExportOptions::new().include_specified_by());
        if std::env::var_os("FERMATA_UPDATE").is_some() {
            std::fs::write(path, &sdl).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), sdl, "run the test with FERMATA_UPDATE=1");
    }
}
