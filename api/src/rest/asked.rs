//! What every list is asked: by whom, of which command, how narrowed, and which page.

use axum::extract::{FromRequestParts, Path};
use axum::http::Uri;
use axum::http::request::Parts;
use fermata_engine::access::Principal;
use fermata_engine::id::RunId;
use serde::de::DeserializeOwned;

use super::query::{Params, id, id_param};
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::Problem;

/// A request for a list, over everything or of the command that the path names.
#[derive(Debug)]
pub(super) struct Asked<Q> {
    pub(super) app: AppState,
    pub(super) by: Principal,
    pub(super) uri: Uri,
    pub(super) query: Q,
    of: Option<RunId>,
}

impl<Q: DeserializeOwned> FromRequestParts<AppState> for Asked<Q> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Problem> {
        let Caller(by) = Caller::from_request_parts(parts, app).await?;
        let path = Option::<Path<String>>::from_request_parts(parts, app).await;
        // What is no text is no id, and names nothing.
        let path = path.map_err(|_| Problem::not_found("command"))?;
        let of = path.map(|Path(command)| id(&command, "command")).transpose()?;
        let Params(query) = Params::from_request_parts(parts, app).await?;
        Ok(Self { app: app.clone(), by, uri: parts.uri.clone(), query, of })
    }
}

impl<Q> Asked<Q> {
    /// The command of the path, or else the one that the query names.
    pub(super) fn command_or(&self, command_id: Option<&str>) -> Result<Option<RunId>, Problem> {
        match (self.of, id_param("command_id", command_id)?) {
            (Some(of), Some(named)) if of != named => {
                Err(Problem::invalid("/command_id", "differs from the command in the path"))
            }
            (of, named) => Ok(of.or(named)),
        }
    }

    /// The command of the path, where there is always one.
    pub(super) fn command(&self) -> Result<RunId, Problem> {
        self.of.ok_or_else(|| Problem::not_found("command"))
    }
}
