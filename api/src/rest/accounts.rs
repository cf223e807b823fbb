//! Platform accounts: who they are (S-031), how they post (M-031), what is known of them, and putting one into another mode
//! (S-073, S-074).

use axum::Json;
use axum::extract::{Path, State};
use fermata_engine::effect::{AccountFilter, AccountMode, AccountName, AccountSettings, AccountView, Fingerprint};
use fermata_engine::read::Paged;
use schemars::JsonSchema;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::JsonBody;
use super::query::Params;
use super::wire;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::Problem;

/// What may be done with an account.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountModeRequest {
    /// `read_only` and `disabled` stop its effects; `normal`, once somebody has looked into it, lets them go on.
    mode: AccountMode,
    /// Why, for the record.
    #[schemars(length(min = 1, max = 2000))]
    reason: String,
}

/// Who an account is on its platform.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountConnectRequest {
    /// As the platform says it of the account that is meant, and not of one that happens to be signed in.
    fingerprint: Fingerprint,
}

/// Which accounts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AccountListQuery {
    /// Of this client; of use to tokens of every client.
    client_id: Option<String>,
    /// On this platform.
    platform: Option<String>,
    /// In this mode: `normal`, `read_only` or `disabled`.
    mode: Option<String>,
}

/// Whose account is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AccountQuery {
    /// Whose account; the caller's own client when left out.
    client_id: Option<String>,
}

/// List the accounts that something is known of and that the token may see, those that nothing may be done with first.
#[utoipa::path(
    get, path = "/v1/platform-accounts", operation_id = "listPlatformAccounts", tag = "platform accounts",
    responses((status = 200, description = "At most 1000.", body = wire::PlatformAccountList))
)]
pub(super) async fn list(
    State(app): State<AppState>,
    Caller(by): Caller,
    Params(query): Params<AccountListQuery>,
) -> Result<Json<Paged<AccountView>>, Problem> {
    let unknown = |word: &String| Problem::invalid("/mode", format!("{word:?} is none of normal, read_only, disabled"));
    let mode = query.mode.as_ref().map(|word| AccountMode::parse(word).ok_or_else(|| unknown(word))).transpose()?;
    let filter = AccountFilter { client_id: query.client_id, platform: query.platform, mode };
    let items = app.engine.accounts(&by, &filter).await?;
    Ok(Json(Paged { items, next_cursor: None }))
}

/// Read an account that something is known of.
#[utoipa::path(
    get, path = "/v1/platform-accounts/{platform}/{account}", operation_id = "getPlatformAccount",
    tag = "platform accounts",
    params(
        ("platform" = String, Path, description = "The platform."),
        ("account" = String, Path, description = "The account."),
        AccountQuery
    ),
    responses((status = 200, description = "The account.", body = wire::PlatformAccount))
)]
pub(super) async fn read(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path((platform, account)): Path<(String, String)>,
    Params(query): Params<AccountQuery>,
) -> Result<Json<AccountView>, Problem> {
    let which = AccountName { client: query.client_id, platform, account };
    Ok(Json(app.engine.account(&by, &which).await?))
}

/// Connect an account: keep who it is on its platform. When it has answered, no effect of it begins that was let pass for
/// another fingerprint.
#[utoipa::path(
    put, path = "/v1/platform-accounts/{platform}/{account}", operation_id = "connectPlatformAccount",
    tag = "platform accounts",
    params(
        ("platform" = String, Path, description = "The platform."),
        ("account" = String, Path, description = "The account."),
        AccountQuery
    ),
    request_body = wire::AccountConnectRequest,
    responses((status = 200, description = "The account.", body = wire::PlatformAccount))
)]
pub(super) async fn connect(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path((platform, account)): Path<(String, String)>,
    Params(query): Params<AccountQuery>,
    JsonBody(request): JsonBody<AccountConnectRequest>,
) -> Result<Json<AccountView>, Problem> {
    let which = AccountName { client: query.client_id, platform, account };
    Ok(Json(app.engine.connect_account(&by, &which, &request.fingerprint).await?))
}

/// Say how an account posts: all of it, so what is left out is unset. It never holds a secret, only the name of one.
#[utoipa::path(
    put, path = "/v1/platform-accounts/{platform}/{account}/settings", operation_id = "configurePlatformAccount",
    tag = "platform accounts",
    params(
        ("platform" = String, Path, description = "The platform."),
        ("account" = String, Path, description = "The account."),
        AccountQuery
    ),
    request_body = wire::AccountSettings,
    responses((status = 200, description = "The account.", body = wire::PlatformAccount))
)]
pub(super) async fn configure(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path((platform, account)): Path<(String, String)>,
    Params(query): Params<AccountQuery>,
    JsonBody(settings): JsonBody<AccountSettings>,
) -> Result<Json<AccountView>, Problem> {
    let which = AccountName { client: query.client_id, platform, account };
    Ok(Json(app.engine.configure_account(&by, &which, &settings).await?))
}

/// Put an account into another mode. When it has answered, no effect of it begins in the one before.
#[utoipa::path(
    put, path = "/v1/platform-accounts/{platform}/{account}/mode", operation_id = "turnPlatformAccount",
    tag = "platform accounts",
    params(
        ("platform" = String, Path, description = "The platform."),
        ("account" = String, Path, description = "The account."),
        AccountQuery
    ),
    request_body = wire::AccountModeRequest,
    responses((status = 200, description = "The account.", body = wire::PlatformAccount))
)]
pub(super) async fn turn(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path((platform, account)): Path<(String, String)>,
    Params(query): Params<AccountQuery>,
    JsonBody(request): JsonBody<AccountModeRequest>,
) -> Result<Json<AccountView>, Problem> {
    let which = AccountName { client: query.client_id, platform, account };
    Ok(Json(app.engine.turn_account(&by, &which, request.mode, &request.reason).await?))
}
