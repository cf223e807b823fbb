//! What strangers post to GraphQL.

use axum::body::Body;
use fermata_corpus::Target;
use fermata_graphql::persisted::id_of;
use futures::executor::block_on;

use super::*;

/// The largest body that is read here.
const MOST: usize = 64 << 10;

#[test]
fn fuzz_a_body_is_a_request_or_is_refused_before_its_document_is_looked_at() {
    let (open, shut) = (Library::new(false), Library::new(true));
    Target::new("graphql", 2_000).holds(|bytes| {
        let post = Request::post("/graphql").header(CONTENT_TYPE, "application/json").body(Body::from(bytes.to_vec()));
        let sent = match block_on(Sent::read(post.unwrap(), MOST)) {
            Ok(sent) => sent,
            Err(Refused::Problem(problem)) => {
                assert!(bytes.len() > MOST && problem.kind().status().as_u16() == 413, "{problem:?}");
                return;
            }
            Err(Refused::Limit(limit)) => {
                assert!(matches!(limit.code, "graphql_request" | "graphql_batch"), "{limit:?}");
                return;
            }
        };
        let body: Value = serde_json::from_slice(bytes).unwrap();
        assert!(sent.variables.is_object(), "variables are an object, or none");
        assert_eq!(Sent::of_json(body.clone()).ok().as_ref(), Some(&sent), "it is read the same twice");
        assert_eq!(sent.query.as_deref(), body["query"].as_str(), "a document is left as it is");
        let query = sent.query.clone();
        let again = Sent::of_json(body).ok().unwrap();
        if let Ok(request) = sent.request(&open) {
            let text = query.unwrap_or_else(|| request.query.clone());
            assert_eq!(request.query, text, "what was sent is what is executed");
        }
        if let Ok(request) = again.request(&shut) {
            let known = fermata_graphql::persisted::persisted();
            assert!(known.iter().any(|one| one.id == id_of(&request.query)), "a shut library knows what it answers");
        }
    });
}
