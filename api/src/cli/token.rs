//! `fermata token`: over the API where one is meant, straight to the database of DATABASE_URL otherwise.

use std::time::Duration;

use clap::{Args, Subcommand};
use fermata_engine::access::{CreatedToken, NewToken, Principal, Scope};
use fermata_engine::id::TokenId;
use serde_json::{Value, json};

use super::api::ApiArgs;
use super::desk::Desk;
use super::runs::present;
use super::{Output, field, table};
use crate::process::{Exit, Trouble};

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; its text is shown this once.
    #[command(after_help = "Examples:\n  fermata token create --client acme --scope commands:read,commands:write\n  \
        fermata token create --client acme --scope admin --ttl 30d --name ci > token")]
    Create(CreateArgs),
    /// List tokens, newest first; their texts are nowhere.
    #[command(after_help = "Example:\n  fermata token list --json")]
    List(WhereArgs),
    /// Replace a token by another with the same rights; the old one goes on for a while.
    #[command(after_help = "Example:\n  fermata token rotate 0190… --overlap 10m")]
    Rotate(RotateArgs),
    /// End a token.
    #[command(after_help = "Example:\n  fermata token revoke 0190…")]
    Revoke(RevokeArgs),
}

/// Where tokens are kept.
#[derive(Debug, Args)]
pub(crate) struct WhereArgs {
    #[command(flatten)]
    api: ApiArgs,
}

/// The token to be made.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// For which client; `*` for every client
    #[arg(long, value_name = "NAME")]
    client: String,
    /// What it is good for, with commas between
    #[arg(long, value_delimiter = ',', required = true, value_name = "SCOPES", value_parser = scope)]
    scope: Vec<Scope>,
    /// How long it lives, such as 90s, 10m, 12h, 30d; until it is revoked when left out
    #[arg(long, value_parser = duration, value_name = "TIME")]
    ttl: Option<Duration>,
    /// Who or what will use it; the client's name when left out
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The command types that it may submit, with commas between; every type when left out
    #[arg(long, value_delimiter = ',', value_name = "TYPES")]
    command_type: Vec<String>,
    #[command(flatten)]
    api: ApiArgs,
}

/// The token to be replaced.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// The token's id
    #[arg(value_name = "ID")]
    id: String,
    /// How long the old one goes on; an hour when left out
    #[arg(long, value_parser = duration, value_name = "TIME")]
    overlap: Option<Duration>,
    #[command(flatten)]
    api: ApiArgs,
}

/// The token to end.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The token's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(command: TokenCommand, out: Output) -> Result<Exit, Trouble> {
    let args = match &command {
        TokenCommand::Create(CreateArgs { api, .. })
        | TokenCommand::List(WhereArgs { api })
        | TokenCommand::Rotate(RotateArgs { api, .. })
        | TokenCommand::Revoke(RevokeArgs { api, .. }) => api.clone(),
    };
    let desk = Desk::find(&args).await?;
    let answer = Box::pin(act(&desk, command, out)).await;
    desk.close().await;
    answer.map(|()| Exit::Done)
}

async fn act(desk: &Desk, command: TokenCommand, out: Output) -> Result<(), Trouble> {
    match command {
        TokenCommand::Create(args) => {
            let made = create(desk, args).await?;
            // The text alone on standard output, so that it can be sent to a file.
            out.print(&made, || field(&made, "token"));
        }
        TokenCommand::List(_) => {
            let page = list(desk).await?;
            out.print(&page, || listed(&page));
        }
        TokenCommand::Rotate(args) => {
            let made = rotate(desk, args).await?;
            out.print(&made, || field(&made, "token"));
        }
        TokenCommand::Revoke(args) => {
            revoke(desk, &args.id).await?;
            out.print(&json!({ "token_id": args.id, "revoked": true }), || format!("{}  revoked", args.id));
        }
    }
    Ok(())
}

async fn create(desk: &Desk, args: CreateArgs) -> Result<Value, Trouble> {
    let name = args.name.unwrap_or_else(|| args.client.clone());
    let command_types = Some(args.command_type).filter(|types| !types.is_empty());
    match desk {
        Desk::Database(engine) => {
            let new = NewToken { client_id: args.client, name, scopes: args.scope, command_types, ttl: args.ttl };
            Ok(created(&engine.create_token(&Principal::operator(), new).await?))
        }
        Desk::Api(api) => {
            let body = present([
                ("client_id", Some(args.client.into())),
                ("name", Some(name.into())),
                ("scopes", Some(json!(args.scope))),
                ("command_types", command_types.map(|types| json!(types))),
                ("ttl_secs", args.ttl.map(|ttl| ttl.as_secs().into())),
            ]);
            api.post("/v1/tokens", &body).await
        }
    }
}

async fn list(desk: &Desk) -> Result<Value, Trouble> {
    match desk {
        Desk::Database(engine) => Ok(json!({ "items": engine.list_tokens(&Principal::operator()).await? })),
        Desk::Api(api) => api.get("/v1/tokens").await,
    }
}

async fn rotate(desk: &Desk, args: RotateArgs) -> Result<Value, Trouble> {
    match desk {
        Desk::Database(engine) => {
            let id = token_id(&args.id)?;
            Ok(created(&engine.rotate_token(&Principal::operator(), id, args.overlap).await?))
        }
        Desk::Api(api) => {
            let body = present([("overlap_secs", args.overlap.map(|time| time.as_secs().into()))]);
            api.post(&format!("/v1/tokens/{}/rotate", args.id), &body).await
        }
    }
}

async fn revoke(desk: &Desk, id: &str) -> Result<(), Trouble> {
    match desk {
        Desk::Database(engine) => Ok(engine.revoke_token(&Principal::operator(), token_id(id)?).await?),
        Desk::Api(api) => api.delete(&format!("/v1/tokens/{id}")).await.map(drop),
    }
}

fn created(made: &CreatedToken) -> Value {
    json!({ "token_id": made.id, "token": made.token, "expires_at": made.expires_at })
}

fn token_id(text: &str) -> Result<TokenId, Trouble> {
    let id = uuid::Uuid::try_parse(text).map(TokenId);
    id.map_err(|error| Trouble::new(Exit::Usage, format!("`{text}` is no token id")).why(error.to_string()))
}

fn listed(page: &Value) -> String {
    let scopes = |token: &Value| {
        let words = token["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join(",")
    };
    let row = |token: &Value| {
        let state = match (&token["revoked_at"], &token["expires_at"]) {
            (Value::Null, Value::Null) => "live".to_owned(),
            (Value::Null, end) => format!("until {}", end.as_str().unwrap_or_default()),
            _ => "revoked".to_owned(),
        };
        vec![field(token, "token_id"), field(token, "client_id"), field(token, "name"), state, scopes(token)]
    };
    let rows: Vec<_> = page["items"].as_array().into_iter().flatten().map(row).collect();
    table(&["token", "client", "name", "state", "scopes"], &rows)
}

fn scope(word: &str) -> Result<Scope, String> {
    word.parse().map_err(|error: fermata_engine::access::UnknownScope| error.to_string())
}

/// A time with its unit: `90s`, `10m`, `12h`, `30d`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let secs = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("write a number with s, m, h or d, such as 30d".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "begins with a number, such as 30d".to_owned())?;
    number.checked_mul(secs).map(Duration::from_secs).ok_or_else(|| "is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        for (text, secs) in [("90", 90), ("90s", 90), ("10m", 600), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        assert!(
            ["", "d", "1w", "-1", "99999999999999999999", "9999999999999999999d"]
                .iter()
                .all(|text| duration(text).is_err())
        );
    }
}
