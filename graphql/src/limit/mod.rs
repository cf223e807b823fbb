//! Bounds of a request, checked before anything of it is executed.
//!
//! Text is bounded before it is parsed, the parsed document before it is validated (validation
//! follows fragments wherever they are spread, so a small document can mean a huge one), and the
//! weight before anything runs. [`Measure`] is the pure part.

#[cfg(test)]
mod fuzz;
mod measure;
mod text;

use std::any::TypeId;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextPrepareRequest, NextValidation};
use async_graphql::parser::types::{ExecutableDocument, OperationDefinition, OperationType};
use async_graphql::{
    Name, PathSegment, Request, Response, ServerError, ServerResult, ValidationResult, Value as ConstValue, Variables,
};
use fermata_engine::access::Scope;
use fermata_engine::document;

use crate::asked::{Asked, Refusal};
pub use measure::Measure;

/// The deepest query that is answered.
pub const MAX_DEPTH: usize = 12;
/// The deepest question about the schema itself: what GraphiQL asks has fifteen levels.
pub const MAX_INTROSPECTION_DEPTH: usize = 20;
/// The heaviest one: each field weighs one, a list its children as often as it may have items.
pub const MAX_COMPLEXITY: usize = 1_000;
/// The most fields, with fragments counted wherever they are spread.
pub const MAX_FIELDS: usize = 2_000;
/// The most fields at the root of an operation.
pub const MAX_ROOT_FIELDS: usize = 20;
/// The most aliases.
pub const MAX_ALIASES: usize = 50;
/// The most directives in a document.
pub const MAX_DIRECTIVES: usize = 50;
/// The most directives at one field, fragment or operation.
pub const MAX_DIRECTIVES_AT_ONCE: usize = 4;
/// The longest document.
pub const MAX_DOCUMENT_BYTES: usize = 32 << 10;
/// The deepest nesting of brackets in a document, values included.
pub const MAX_NESTING: usize = 64;
/// The largest variables, as compact JSON: as much as one stored document.
pub const MAX_VARIABLES_BYTES: usize = document::MAX_DOCUMENT_BYTES;

/// The code of a mutation that came a way on which nothing may change.
pub const QUERIES_ONLY: &str = "graphql_queries_only";

/// What is wrong with a request as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// A word for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Limit {
    /// A request that is refused as a whole.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn exceeded(code: &'static str, what: &str, has: usize, most: usize) -> Self {
        Self::new(code, format!("the {what} {has}, more than {most}; ask for less at once"))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Puts the bounds around every operation.
#[derive(Debug)]
pub(crate) struct Limits;

impl ExtensionFactory for Limits {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for Limits {
    async fn prepare_request(
        &self,
        context: &ExtensionContext<'_>,
        mut request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        let asked = request.data.get(&TypeId::of::<Asked>()).and_then(|data| data.downcast_ref::<Asked>()).cloned();
        let Some(asked) = asked else { return Err(ServerError::new("nobody asks", None)) };
        let refuse = |refusal: Refusal| (asked.explain)(refusal).server_error();
        text::check(&request.query).map_err(|limit| refuse(limit.into()))?;
        variables(&request.variables).map_err(|refusal| refuse(*refusal))?;
        let operation_name = request.operation_name.clone();
        let given: HashSet<Name> = set_variables(&request.variables);
        let document = request.parsed_query().map_err(|error| {
            let explained = refuse(Limit::new("graphql_syntax", error.message.clone()).into());
            ServerError { extensions: explained.extensions, ..error }
        })?;
        if asked.queries_only && changes_something(document, operation_name.as_deref()) {
            return Err(refuse(Limit::new(QUERIES_ONLY, "this way only queries are answered; use POST").into()));
        }
        if let Some(pointer) = missing_variable(document, operation_name.as_deref(), &given) {
            return Err(refuse(Refusal::Invalid { pointer, message: "is required".to_owned() }));
        }
        let measure = Measure::of(document).map_err(|limit| refuse(limit.into()))?;
        measure.check().map_err(|limit| refuse(limit.into()))?;
        if measure.asks_about_the_schema() {
            asked.by.require(Scope::GraphqlIntrospect).map_err(|denied| refuse(denied.into()))?;
        }
        next.run(context, request).await
    }

    async fn validation(
        &self,
        context: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let found = next.run(context).await?;
        if found.complexity <= MAX_COMPLEXITY {
            return Ok(found);
        }
        let limit = Limit::exceeded("graphql_too_complex", "query weighs", found.complexity, MAX_COMPLEXITY);
        Err(match context.data::<Asked>() {
            Ok(asked) => vec![(asked.explain)(limit.into()).server_error()],
            Err(_) => vec![ServerError::new(limit.message, None)],
        })
    }
}

/// The operation that is asked for; without a name, every one.
fn asked_for<'a>(
    document: &'a ExecutableDocument,
    name: Option<&'a str>,
) -> impl Iterator<Item = &'a OperationDefinition> {
    let wanted = move |given: Option<&Name>| name.is_none() || given.map(Name::as_str) == name;
    document.operations.iter().filter(move |(given, _)| wanted(*given)).map(|(_, operation)| &operation.node)
}

/// Whether the operation that is asked for is another one than a query.
fn changes_something(document: &ExecutableDocument, name: Option<&str>) -> bool {
    asked_for(document, name).any(|operation| operation.ty != OperationType::Query)
}

/// The names of the variables that have a value.
fn set_variables(variables: &Variables) -> HashSet<Name> {
    variables.iter().filter(|(_, value)| **value != ConstValue::Null).map(|(name, _)| name.clone()).collect()
}

/// A pointer to a variable that the operation cannot do without. The executor would only find out
/// when it is half through.
fn missing_variable(document: &ExecutableDocument, name: Option<&str>, given: &HashSet<Name>) -> Option<String> {
    let mut variables = asked_for(document, name).flat_map(|operation| &operation.variable_definitions);
    let missing = variables.find(|variable| {
        let variable = &variable.node;
        !variable.var_type.node.nullable && variable.default_value.is_none() && !given.contains(&variable.name.node)
    })?;
    Some(format!("/variables/{}", missing.node.name.node))
}

/// Variables that could not be stored are refused before they get anywhere near a statement.
fn variables(variables: &Variables) -> Result<(), Box<Refusal>> {
    let unfit = |pointer: String, message: String| Box::new(Refusal::Invalid { pointer, message });
    let value = serde_json::to_value(variables).map_err(|error| unfit("/variables".into(), error.to_string()))?;
    let size = document::size(&value);
    if size > MAX_VARIABLES_BYTES {
        let limit = Limit::exceeded(
            "graphql_variables_too_large",
            "variables have this many bytes:",
            size,
            MAX_VARIABLES_BYTES,
        );
        return Err(Box::new(limit.into()));
    }
    document::check(&value).map_err(|error| match &error {
        document::DocumentError::Nul { pointer } => unfit(format!("/variables{pointer}"), error.to_string()),
        _ => unfit("/variables".into(), error.to_string()),
    })
}

/// Gives every error that the executor made its code, so that no error is without one.
pub(crate) fn complete(asked: &Asked, response: &mut Response) {
    for error in &mut response.errors {
        let has_code = error.extensions.as_ref().is_some_and(|extensions| extensions.get("code").is_some());
        if has_code {
            continue;
        }
        let at_argument = error.path.iter().any(|segment| matches!(segment, PathSegment::Field(_)));
        let code = if at_argument { "graphql_argument" } else { "graphql_validation" };
        let explained = (asked.explain)(Limit::new(code, error.message.clone()).into());
        error.extensions = explained.server_error().extensions;
    }
}
