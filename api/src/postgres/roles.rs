//! The first SQL on a new server: the login role and the database it owns.
//!
//! Every start repeats it, so that an interrupted first start or a lost password file mends itself.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::PostgresError;
use super::server::Place;

/// The bootstrap superuser; it has no password and so cannot come in over TCP.
pub(super) const SUPERUSER: &str = "postgres";
/// The role everything else logs in as.
pub(super) const LOGIN_ROLE: &str = "fermata";
/// The database that role owns.
pub(super) const DATABASE: &str = "fermata";

/// How long the first statements may take together; creating a database copies a template of 7 MB.
const BOOTSTRAP_LIMIT: Duration = Duration::from_mins(1);

/// Makes sure that the role can log in with this password and owns its database, and proves it over TCP.
pub(super) async fn bootstrap(place: &Place, password: &str, log: &Path) -> Result<(), PostgresError> {
    let work = async {
        set_up(place, password).await.map_err(|source| sql_error("setting up the role `fermata`", log, source))?;
        log_in(place, password).await.map_err(|source| sql_error("logging in as `fermata` over TCP", log, source))
    };
    tokio::time::timeout(BOOTSTRAP_LIMIT, work).await.map_err(|_| PostgresError::Timeout {
        what: "setting up the role `fermata`",
        limit_secs: BOOTSTRAP_LIMIT.as_secs(),
        advice: "is something holding a lock on pg_authid? start again",
        log: log.to_owned(),
    })?
}

async fn set_up(place: &Place, password: &str) -> Result<(), sqlx::Error> {
    let options = connection(place, SUPERUSER).database("postgres").socket(&place.socket_dir);
    let mut server = options.connect().await?;
    // A failing statement would otherwise be written to the log, password and all.
    run(&mut server, "SET log_min_error_statement = panic".to_owned()).await?;
    let role_exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(LOGIN_ROLE)
        .fetch_one(&mut server)
        .await?;
    if !role_exists {
        run(&mut server, format!("CREATE ROLE {LOGIN_ROLE}")).await?;
    }
    // The password is hexadecimal by construction, so it needs no quoting.
    let attributes = "LOGIN NOSUPERUSER CREATEROLE CREATEDB NOREPLICATION NOBYPASSRLS";
    run(&mut server, format!("ALTER ROLE {LOGIN_ROLE} {attributes} PASSWORD '{password}'")).await?;
    let owner: Option<String> =
        sqlx::query_scalar("SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = $1")
            .bind(DATABASE)
            .fetch_optional(&mut server)
            .await?;
    match owner.as_deref() {
        None => run(&mut server, format!("CREATE DATABASE {DATABASE} OWNER {LOGIN_ROLE}")).await,
        Some(LOGIN_ROLE) => Ok(()),
        Some(_) => run(&mut server, format!("ALTER DATABASE {DATABASE} OWNER TO {LOGIN_ROLE}")).await,
    }?;
    server.close().await
}

/// Proves the way every other process will take.
async fn log_in(place: &Place, password: &str) -> Result<(), sqlx::Error> {
    let options = connection(place, LOGIN_ROLE).database(DATABASE).password(password);
    let mut server = options.connect().await?;
    server.ping().await?;
    server.close().await
}

fn connection(place: &Place, user: &str) -> PgConnectOptions {
    // Without TLS: the way does not leave the machine.
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(place.port)
        .username(user)
        .ssl_mode(PgSslMode::Disable)
        .disable_statement_logging()
}

/// Runs one statement made of constants and the hexadecimal password.
async fn run(server: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(server).await.map(|_| ())
}

fn sql_error(what: &'static str, log: &Path, source: sqlx::Error) -> PostgresError {
    PostgresError::Sql { what, log: log.to_owned(), source }
}
