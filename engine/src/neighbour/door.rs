//! A worker's door: commands come in, are accepted by its own writer, and begin with that commit.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::bytes::Bytes;
use tokio_util::codec::Framed;
use tracing::{debug, warn};

use super::{Hello, MAX_NEIGHBOURS, Street, Told, VERSION, codec, user};
use crate::node::Host;
use crate::store::record::Acceptance;

/// The pause before the door is tried again when nobody could come in, as where there are no descriptors left.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// A socket that goes when its owner goes.
struct Door(PathBuf);

impl Drop for Door {
    fn drop(&mut self) {
        // A socket that stays is one that nobody answers at.
        drop(std::fs::remove_file(&self.0));
    }
}

/// Takes commands of other processes of this user, for as long as it runs. Without a door they come through the database.
pub(crate) async fn listen(host: Arc<Host>, street: Street) {
    clear(&street).await;
    let name = format!("{}-{}.sock", street.prefix, host.wakes.origin.simple());
    let door = Door(street.folder.join(name));
    let listener = match UnixListener::bind(&door.0) {
        Ok(listener) => listener,
        Err(error) => {
            warn!(error = %error, "there is no door for commands of this machine; they come through the database");
            return;
        }
    };
    let mut guests = JoinSet::new();
    loop {
        while guests.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(error = %error, "nobody can come in for the moment; commands come through the database");
                host.clock.wait(OPEN_AGAIN).await;
                continue;
            }
        };
        let ours = matches!((stream.peer_cred(), user()), (Ok(peer), Ok(user)) if peer.uid() == user);
        if ours && guests.len() < MAX_NEIGHBOURS {
            guests.spawn(serve(Arc::clone(&host), stream));
        }
    }
}

/// Takes away the doors behind which nobody is any more, of whichever database: one that was dropped has no worker to do it.
async fn clear(street: &Street) {
    for door in street.all_doors() {
        if UnixStream::connect(&door).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            drop(std::fs::remove_file(&door));
        }
    }
}

async fn serve(host: Arc<Host>, stream: UnixStream) {
    let mut framed = Framed::new(stream, codec());
    let hello = Hello { version: VERSION, hosted: host.registry.hosted().into_iter().collect() };
    let Ok(hello) = serde_json::to_vec(&hello) else { return };
    if framed.send(Bytes::from(hello)).await.is_err() {
        return;
    }
    while let Some(Ok(frame)) = framed.next().await {
        let acceptance: Acceptance = match serde_json::from_slice(&frame) {
            Ok(acceptance) => acceptance,
            Err(error) => {
                debug!(error = %error, "a neighbour says what nobody understands");
                return;
            }
        };
        // What cannot be accepted here is accepted by whoever asked, or refused there.
        let told = Told { accepted: host.writer.accept(acceptance).await.ok() };
        let Ok(told) = serde_json::to_vec(&told) else { return };
        if framed.send(Bytes::from(told)).await.is_err() {
            return;
        }
    }
}
