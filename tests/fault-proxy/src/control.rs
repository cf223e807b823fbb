//! The control socket: one JSON request a line, one JSON answer a line.
//!
//! To add an operation, add a variant to [`Op`] and an arm to [`carry_out`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::bounds::{MAX_CONTROL_CONNECTIONS, MAX_CONTROL_LINE_BYTES, MAX_LOG_LINES};
use crate::clock;
use crate::desk::{Desk, Refusal};
use crate::fault::{FaultSpec, Protocol};
use crate::link::Upstream;

/// A request.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Op {
    Open {
        name: String,
        listen: SocketAddr,
        upstream: String,
        protocol: Protocol,
    },
    Upstream {
        name: String,
        upstream: String,
    },
    Close {
        name: String,
    },
    Fault {
        name: String,
        // The variant is as large as all others together.
        fault: Box<FaultSpec>,
        id: Option<String>,
    },
    Wait {
        id: String,
        timeout_ms: u64,
        /// How often it must have fired; once if nobody says.
        fired: Option<u64>,
    },
    Clear {
        name: String,
        /// Only this fault; all of the link if nobody says.
        id: Option<String>,
    },
    Stats {
        name: String,
    },
    Log {
        last: Option<usize>,
    },
}

/// Serves the control socket for as long as it is polled.
pub(crate) async fn serve(listener: UnixListener, desk: Arc<Desk>) -> io::Result<()> {
    let seats = Arc::new(Semaphore::new(MAX_CONTROL_CONNECTIONS));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return Ok(()) };
        let (stream, _) = listener.accept().await?;
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            // Whoever went away needs no answer.
            let _ = converse(stream, &desk).await;
            drop(seat);
        });
    }
}

async fn converse(stream: UnixStream, desk: &Desk) -> io::Result<()> {
    let (source, mut sink) = stream.into_split();
    let mut source = BufReader::new(source);
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = MAX_CONTROL_LINE_BYTES as u64;
        let read = (&mut source).take(most).read_until(b'\n', &mut line).await?;
        if read == 0 {
            return Ok(());
        }
        let is_too_long = read == MAX_CONTROL_LINE_BYTES && line.last() != Some(&b'\n');
        let answer = if is_too_long {
            refused(&format!("a line has at most {MAX_CONTROL_LINE_BYTES} bytes"))
        } else {
            match serde_json::from_slice(&line) {
                Ok(op) => carry_out(op, desk).await,
                Err(error) => refused(&format!("not a request: {error}")),
            }
        };
        sink.write_all(format!("{answer}\n").as_bytes()).await?;
        if is_too_long {
            return Ok(());
        }
    }
}

async fn carry_out(op: Op, desk: &Desk) -> Value {
    let done = match op {
        Op::Open { name, listen, upstream, protocol } => match upstream.parse() {
            Ok(upstream) => desk.open(name, listen, upstream, protocol).await.map(|at| json!({ "address": at })),
            Err(error) => return refused(error),
        },
        Op::Upstream { name, upstream } => match upstream.parse::<Upstream>() {
            Ok(upstream) => desk.set_upstream(&name, upstream).map(nothing),
            Err(error) => return refused(error),
        },
        Op::Close { name } => desk.close(&name).map(nothing),
        Op::Fault { name, fault, id } => desk.arm(&name, *fault, id).map(|id| json!({ "id": id })),
        Op::Wait { id, timeout_ms, fired } => return wait(desk, &id, timeout_ms, fired.unwrap_or(1)).await,
        Op::Clear { name, id } => desk.clear(&name, id.as_deref()).map(nothing),
        Op::Stats { name } => {
            desk.counts(&name).map(|(upstream, counts)| json!({ "upstream": upstream.to_string(), "stats": counts }))
        }
        Op::Log { last } => Ok(json!({ "log": desk.journal.last(last.unwrap_or(MAX_LOG_LINES)) })),
    };
    match done {
        Ok(fields) => agreed(fields),
        Err(refusal) => refused(&told(&refusal)),
    }
}

async fn wait(desk: &Desk, id: &str, timeout_ms: u64, times: u64) -> Value {
    let mut journal = desk.journal.watch();
    let timeout = clock::pause(Duration::from_millis(timeout_ms));
    let mut timeout = std::pin::pin!(timeout);
    loop {
        journal.borrow_and_update();
        let (fired, what) = match desk.record(id) {
            Ok(record) => record,
            Err(refusal) => return refused(&told(&refusal)),
        };
        if fired >= times {
            return agreed(json!({ "fired": fired, "what": what }));
        }
        tokio::select! {
            _ = journal.changed() => {}
            () = &mut timeout => {
                let error = format!("`{id}` has fired {fired} of {times} times within {timeout_ms} ms");
                return json!({ "ok": false, "fired": fired, "error": error });
            }
        }
    }
}

fn nothing((): ()) -> Value {
    Value::Object(Map::new())
}

fn agreed(mut fields: Value) -> Value {
    fields["ok"] = Value::Bool(true);
    fields
}

fn refused(error: &str) -> Value {
    json!({ "ok": false, "error": error })
}

/// A refusal with its cause.
fn told(refusal: &Refusal) -> String {
    match std::error::Error::source(refusal) {
        Some(source) if matches!(refusal, Refusal::Listen { .. }) => format!("{refusal}: {source}"),
        _ => refusal.to_string(),
    }
}
