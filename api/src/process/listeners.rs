//! The sockets of a serving process: bound early, served until told to stop.

use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Trouble;

/// A bound socket that nobody serves yet.
#[derive(Debug)]
pub(super) struct Bound {
    listener: TcpListener,
    /// The address with its real port.
    pub(super) address: SocketAddr,
}

impl Bound {
    /// Takes the address; port 0 takes a free one.
    pub(super) async fn to(address: SocketAddr, key: &str) -> Result<Self, Trouble> {
        let refused = |error: std::io::Error| {
            Trouble::failed(format!("cannot listen on {address}"))
                .why(error.to_string())
                .remedy(format!("stop what listens there, or name another address ({key}); port 0 takes a free one"))
                .code("address_in_use")
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// The address as a URL, such as `http://127.0.0.1:7070`.
    pub(super) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// Serves until `stopping`; answers under way are finished.
    pub(super) fn serve(self, router: Router, stopping: &CancellationToken, tasks: &mut JoinSet<()>) {
        let stopped = stopping.clone().cancelled_owned();
        let address = self.address;
        tasks.spawn(async move {
            if let Err(error) = axum::serve(self.listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "nobody listens on {address} any more: {error}");
            }
        });
    }
}
