//! The backend: hands claimed runs to the worker, never more than it has slots for.

use std::convert::Infallible;
use std::task::{Context, Poll};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::queue::Queue;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use tokio::sync::mpsc;
use tower::layer::util::Identity;

use crate::run::Delivery;

/// Runs that this node has claimed, as a stream of apalis tasks.
///
/// It never ends because of the database: the claimer behind it retries for as long as the node
/// lives, and closing its channel is the only end.
pub(crate) struct RunBackend {
    deliveries: mpsc::Receiver<Delivery>,
}

impl RunBackend {
    pub(crate) fn new(deliveries: mpsc::Receiver<Delivery>) -> Self {
        Self { deliveries }
    }
}

impl Backend for RunBackend {
    type Task = Task<Delivery>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Task<Delivery>, Infallible>>> {
        self.deliveries.poll_recv(cx).map(|delivery| {
            if delivery.is_none() {
                // apalis ends a worker only when it is told to, also once its backend has ended.
                drop(worker.stop());
            }
            delivery.map(|delivery| Ok(task(delivery, worker.name())))
        })
    }

    /// Nothing to flush: the writer has committed before a delivery ends.
    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.deliveries.close();
        Poll::Ready(Ok(()))
    }
}

fn task(delivery: Delivery, worker: &str) -> Task<Delivery> {
    let claim = &delivery.claim;
    let (run, kind) = (claim.run.0, claim.kind.clone());
    let attempt = usize::try_from(claim.deliveries).unwrap_or_default();
    TaskBuilder::new(delivery)
        .task_id(TaskId::from_uuid(run))
        .queue(Queue::from(kind))
        .attempt(attempt)
        .lock_by(Some(worker.to_owned()))
        .build()
}

impl BackendConfig for RunBackend {
    type Args = Delivery;
    type Id = uuid::Uuid;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
