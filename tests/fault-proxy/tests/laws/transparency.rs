//! Laws of a proxy that is armed with nothing, or with what never comes.

use serde_json::json;
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Executor as _, PgPool};

use crate::database::{Rig, run, simple, url};
use crate::running::{Proxy, soon};

/// Everything that a client does with a server.
async fn everything(rig: &mut Rig) {
    let mut client = rig.connect().await;
    for n in 0..1000 {
        run(&mut client, rig.insert(n)).await.unwrap();
    }
    assert_eq!(rig.rows().await, (0..1000).collect::<Vec<_>>());
    for n in 0..100_i64 {
        let found: i64 = sqlx::query_scalar("select $1::int8 + 1").bind(n).fetch_one(&mut client).await.unwrap();
        assert_eq!(found, n + 1);
    }
    let row: String = sqlx::query_scalar("select repeat('x', 1048576)").fetch_one(&mut client).await.unwrap();
    assert!(row.len() == 1_048_576 && row.bytes().all(|byte| byte == b'x'));
    let sent = format!("update {} set text = $1 where n = 1", rig.table);
    sqlx::query(AssertSqlSafe(sent)).bind(&row).execute(&mut client).await.unwrap();
    let kept = format!("select length(text) from {} where n = 1", rig.table);
    let kept: i32 = sqlx::query_scalar(AssertSqlSafe(kept)).fetch_one(&mut rig.direct).await.unwrap();
    assert_eq!(kept, 1_048_576);
    let mut copy = client.copy_in_raw(&format!("copy {} (n) from stdin", rig.table)).await.unwrap();
    copy.send("5000\n6000\n".as_bytes()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 2);
    simple(&mut client, "select 1 / 0").await.unwrap_err();
    simple(&mut client, "select 1; select 2").await.unwrap();
}

async fn notifications(rig: &mut Rig) {
    let through = PgPool::connect_with(
        url().parse::<sqlx::postgres::PgConnectOptions>().unwrap().host("127.0.0.1").port(rig.address.port()),
    );
    let mut listener = PgListener::connect_with(&through.await.unwrap()).await.unwrap();
    listener.listen(&rig.table).await.unwrap();
    for n in 0..100 {
        let notify = format!("notify {}, '{n}'", rig.table);
        rig.direct.execute(AssertSqlSafe(notify)).await.unwrap();
        let heard = soon("a notification comes", Box::pin(listener.recv())).await.unwrap();
        assert_eq!(heard.payload(), n.to_string());
    }
}

#[tokio::test]
async fn with_no_fault_nothing_changes() {
    let mut rig = Rig::start().await;
    everything(&mut rig).await;
    notifications(&mut rig).await;
    let stats = rig.proxy.stats().await;
    assert_eq!((&stats["plain"], &stats["too_large"]), (&json!(0), &json!(0)));
    assert!(stats["commits"].as_u64().unwrap() >= 1100, "{stats}");
    rig.drop_table().await;
}

#[tokio::test]
async fn a_fault_that_never_matches_changes_nothing() {
    let mut rig = Rig::start().await;
    let link = |fault| json!({ "op": "fault", "name": "link", "fault": fault });
    for kind in ["cut_answer", "cut_request", "half_answer"] {
        // Not by its text, so that everything is held until it is decided.
        rig.proxy.agree(link(json!({ "kind": kind, "within": "no such text" }))).await;
    }
    everything(&mut rig).await;
    notifications(&mut rig).await;
    assert_eq!(rig.proxy.stats().await["fired"], json!({}));
    rig.drop_table().await;
}

#[tokio::test]
async fn an_answer_too_large_to_hold_passes_and_is_counted() {
    let rig = Rig::start().await;
    rig.proxy.arm(json!({ "kind": "cut_answer" })).await;
    let mut client = rig.connect().await;
    let row: String = sqlx::query_scalar("select repeat('x', 10485760)").fetch_one(&mut client).await.unwrap();
    assert_eq!(row.len(), 10_485_760);
    assert_eq!(rig.proxy.stats().await["too_large"], 1);
    assert_eq!(rig.proxy.times().await, 0);
}

#[tokio::test]
async fn a_server_may_be_reached_by_a_unix_socket() {
    let folder = std::env::temp_dir().join(format!("fault-proxy-echo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("echo.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let proxy = Proxy::start().await;
    let address = proxy.open(path.to_str().unwrap(), "tcp").await;
    let client = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut server, _) = soon("the proxy connects", listener.accept()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut server, b"hello").await.unwrap();
    drop(server);
    let mut heard = String::new();
    let mut client = client;
    soon("the end comes", tokio::io::AsyncReadExt::read_to_string(&mut client, &mut heard)).await.unwrap();
    assert_eq!(heard, "hello");
    std::fs::remove_dir_all(&folder).unwrap();
}
