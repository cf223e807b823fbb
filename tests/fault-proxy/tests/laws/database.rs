//! A real Postgres behind a link, and one table of its own for each test.

use std::net::SocketAddr;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnectOptions, PgQueryResult};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::running::{Proxy, soon};

static TABLES: AtomicU32 = AtomicU32::new(0);

/// Where the test server is.
pub(crate) fn url() -> String {
    std::env::var("FERMATA_TEST_DATABASE_URL").unwrap_or_else(|_| {
        panic!(
            "FERMATA_TEST_DATABASE_URL is not set: run `target/release/fermata-test-cluster /tmp/cluster` with an \
             open stdin, and set it to the URL that is printed"
        )
    })
}

/// A table of this test's own, a proxy before its server, and the server itself.
pub(crate) struct Rig {
    pub(crate) proxy: Proxy,
    pub(crate) address: SocketAddr,
    pub(crate) table: String,
    /// A connection that does not go through the proxy.
    pub(crate) direct: PgConnection,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        let proxy = Proxy::start().await;
        let options = PgConnectOptions::from_str(&url()).unwrap();
        let upstream = format!("{}:{}", options.get_host(), options.get_port());
        let address = proxy.open(&upstream, "postgres").await;
        let mut direct = PgConnection::connect_with(&options).await.unwrap();
        let table = format!("fault_proxy_{}_{}", std::process::id(), TABLES.fetch_add(1, Ordering::Relaxed));
        let create = format!("drop table if exists {table}; create table {table} (n bigint, text text)");
        direct.execute(AssertSqlSafe(create)).await.unwrap();
        Self { proxy, address, table, direct }
    }

    /// A connection through the proxy.
    pub(crate) async fn connect(&self) -> PgConnection {
        let options = PgConnectOptions::from_str(&url()).unwrap().host("127.0.0.1").port(self.address.port());
        soon("the proxy connects", PgConnection::connect_with(&options)).await.unwrap()
    }

    pub(crate) fn insert(&self, n: i64) -> String {
        format!("insert into {} values ({n})", self.table)
    }

    /// The numbers that are in the table, seen without the proxy.
    pub(crate) async fn rows(&mut self) -> Vec<i64> {
        let select = format!("select n from {} order by n", self.table);
        sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(&mut self.direct).await.unwrap()
    }

    pub(crate) async fn drop_table(&mut self) {
        let drop = format!("drop table {}", self.table);
        self.direct.execute(AssertSqlSafe(drop)).await.unwrap();
    }
}

/// A statement of the extended protocol.
pub(crate) async fn run(connection: &mut PgConnection, statement: String) -> Result<PgQueryResult, sqlx::Error> {
    soon("a statement is answered", sqlx::query(AssertSqlSafe(statement)).execute(connection)).await
}

/// A statement of the simple protocol.
pub(crate) async fn simple(connection: &mut PgConnection, statement: &str) -> Result<PgQueryResult, sqlx::Error> {
    let statement = AssertSqlSafe(statement.to_owned());
    soon("a statement is answered", connection.execute(sqlx::raw_sql(statement))).await
}
