//! The worker: an apalis `Worker` under a `Monitor`, with its layers.

use std::sync::Arc;

use apalis::layers::WorkerBuilderExt as _;
use apalis_core::monitor::Monitor;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::ext::parallelize::ParallelizeExt as _;
use tokio::sync::mpsc;
use tracing::error;

use super::backend::RunBackend;
use crate::node::Host;
use crate::run::{Delivery, drive};

/// Carries runs until the deliveries end.
pub(crate) async fn work(host: Arc<Host>, deliveries: mpsc::Receiver<Delivery>) {
    let name = format!("fermata-{}", std::process::id());
    let backend = std::sync::Mutex::new(Some(RunBackend::new(deliveries)));
    let monitor = Monitor::new().register(move |_| {
        // The monitor asks for a worker once; it restarts none, because the backend never fails.
        let taken = backend.lock().ok().and_then(|mut backend| backend.take());
        let source = taken.unwrap_or_else(|| RunBackend::new(mpsc::channel(1).1));
        WorkerBuilder::new(name.as_str())
            .backend(source)
            .data(Arc::clone(&host))
            .catch_panic()
            .parallelize(tokio::spawn)
            .build(carry)
    });
    if let Err(error) = monitor.run().await {
        error!(error = %error, "the worker ended with an error");
    }
}

async fn carry(delivery: Delivery, host: Data<Arc<Host>>) {
    drive(Arc::clone(&host), delivery).await;
}
