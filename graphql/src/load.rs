//! Loaders: what the nodes of a page ask for one by one is asked of the engine once.
//!
//! A key says of what, which page and which filter. Keys that agree in the last two are one
//! statement. The work of a loader is driven by [`drive`] in the request's own task, after every
//! node has asked: no timing decides how many statements there are.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::{Context, Error};
use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::event::{Cursor, Severity};
use fermata_engine::id::{ActionId, IntentId, RunId};
use fermata_engine::read::{
    ActionFilter, ActionView, ArtifactFilter, ArtifactView, AuditFilter, AuditView, CommandView, EventFilter,
    EventPage, Found, GateFilter, GateView, IntentView, MAX_AT_ONCE, Page, Paged, ReadError, StepId, StepSummary,
    StepView,
};
use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, unfold};
use futures::{FutureExt as _, StreamExt as _, select_biased};

use crate::asked::Asked;

/// A loader's work, on its way to [`drive`].
type Task = BoxFuture<'static, ()>;

/// Loads whatever nodes ask for. One per request.
pub(crate) type Loaders = DataLoader<Loads>;

/// Asks the engine for the principal of the request.
pub(crate) struct Loads(Asked);

impl fmt::Debug for Loads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loads").field(&self.0).finish()
    }
}

/// A request's loaders and the queue of their work. There is at most one piece of work for each
/// kind of key at a time, so that the queue is bounded by the number of fields.
pub(crate) fn loaders(asked: Asked) -> (Loaders, mpsc::UnboundedReceiver<Task>) {
    let (queue, tasks) = mpsc::unbounded();
    let spawn = move |task| drop(queue.unbounded_send(task));
    (DataLoader::new(Loads(asked), spawn).max_batch_size(MAX_AT_ONCE), tasks)
}

/// Drives an execution and the work of its loaders: loaders only when the execution waits.
pub(crate) async fn drive<T>(execution: impl Future<Output = T>, queue: mpsc::UnboundedReceiver<Task>) -> T {
    let mut execution = Box::pin(execution.fuse());
    let (mut queue, mut under_way) = (queue.fuse(), FuturesUnordered::new());
    loop {
        select_biased! {
            answer = execution => return answer,
            task = queue.select_next_some() => under_way.push(task),
            () = under_way.select_next_some() => {}
        }
    }
}

/// Drives a stream of answers in the same way; it ends with the stream.
pub(crate) fn drive_stream<T: Send + 'static>(
    answers: BoxStream<'static, T>,
    queue: mpsc::UnboundedReceiver<Task>,
) -> BoxStream<'static, T> {
    let state = (answers.fuse(), queue.fuse(), FuturesUnordered::new());
    Box::pin(unfold(state, async |(mut answers, mut queue, mut under_way)| {
        loop {
            select_biased! {
                answer = answers.next() => return answer.map(|answer| (answer, (answers, queue, under_way))),
                task = queue.select_next_some() => under_way.push(task),
                () = under_way.select_next_some() => {}
            }
        }
    }))
}

/// A list that many things have.
pub(crate) trait ListOf: Clone + Eq + Hash + Send + Sync + 'static {
    /// What has the list.
    type Of: Clone + Eq + Hash + Send + Sync + 'static;
    /// A page of it.
    type Page: Send + Sync + 'static;
    /// The same part of each one's list.
    fn load(
        &self,
        engine: &Engine,
        by: &Principal,
        of: &[Self::Of],
    ) -> impl Future<Output = Result<Found<Self::Of, Self::Page>, ReadError>> + Send;
}

/// One thing's part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Part<L: ListOf> {
    of: L::Of,
    list: L,
}

impl<L: ListOf> Loader<Part<L>> for Loads {
    type Value = Arc<L::Page>;
    type Error = Error;

    async fn load(&self, keys: &[Part<L>]) -> Result<HashMap<Part<L>, Self::Value>, Error> {
        let mut alike: HashMap<&L, Vec<L::Of>> = HashMap::new();
        for key in keys {
            alike.entry(&key.list).or_default().push(key.of.clone());
        }
        let mut found = HashMap::with_capacity(keys.len());
        for (list, of) in alike {
            let pages = list.load(&self.0.engine, &self.0.by, &of).await.map_err(|error| self.0.refuse(error))?;
            found.extend(pages.into_iter().map(|(of, page)| (Part { of, list: list.clone() }, Arc::new(page))));
        }
        Ok(found)
    }
}

/// The part of a list that belongs to `of`; `None` where it has nothing.
pub(crate) async fn load<L: ListOf>(
    context: &Context<'_>,
    of: L::Of,
    list: L,
) -> async_graphql::Result<Option<Arc<L::Page>>> {
    context.data::<Loaders>()?.load_one(Part { of, list }).await
}

macro_rules! by_id {
    ($($id:ident => $view:ident by $read:ident),+ $(,)?) => {$(
        impl Loader<$id> for Loads {
            type Value = $view;
            type Error = Error;

            async fn load(&self, keys: &[$id]) -> Result<HashMap<$id, $view>, Error> {
                self.0.engine.$read(&self.0.by, keys).await.map_err(|error| self.0.refuse(error))
            }
        }
    )+};
}

by_id! {
    RunId => CommandView by commands_by_id,
    ActionId => ActionView by actions_by_id,
    IntentId => IntentView by intents_by_id,
}

macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* } of $of:ty => $page:ty,
        |$list:ident, $engine:ident, $by:ident, $keys:ident| $load:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub(crate) struct $name { $(pub(crate) $field: $type),* }

        impl ListOf for $name {
            type Of = $of;
            type Page = $page;

            async fn load(
                &self,
                $engine: &Engine,
                $by: &Principal,
                $keys: &[$of],
            ) -> Result<Found<$of, $page>, ReadError> {
                let $list = self;
                $load.await
            }
        }
    )+};
}

lists! {
    /// The commands that a command started.
    Children { page: Page } of RunId => Paged<CommandView>, |list, engine, by, keys|
        engine.children_of(by, keys, list.page);
    /// The steps of a command.
    Steps { page: Page } of RunId => Paged<StepSummary>, |list, engine, by, keys|
        engine.steps_of(by, keys, list.page);
    /// The attempts of a step.
    Attempts { page: Page } of StepId => Paged<StepView>, |list, engine, by, keys|
        engine.attempts_of(by, keys, list.page);
    /// The actions of a command.
    Actions { page: Page, states: Vec<String>, account_id: Option<String>, action_type: Option<String> }
        of RunId => Paged<ActionView>, |list, engine, by, keys| async {
            let (states, account_id) = (list.states.clone(), list.account_id.clone());
            let filter = ActionFilter { run: None, states, account_id, action_type: list.action_type.clone() };
            engine.actions_of(by, keys, &filter, list.page).await
        };
    /// The actions that attempted an intent.
    ActionsOfIntent { page: Page } of IntentId => Paged<ActionView>, |list, engine, by, keys|
        engine.actions_of_intents(by, keys, list.page);
    /// The gates of a command.
    Gates { page: Page, states: Vec<String> } of RunId => Paged<GateView>, |list, engine, by, keys| async {
        let filter = GateFilter { states: list.states.clone(), ..GateFilter::default() };
        engine.gates_of(by, keys, &filter, list.page).await
    };
    /// The artifacts of a command.
    Artifacts { page: Page, kind: Option<String> } of RunId => Paged<ArtifactView>, |list, engine, by, keys| async {
        let filter = ArtifactFilter { run: None, kind: list.kind.clone() };
        engine.artifacts_of_each(by, keys, &filter, list.page).await
    };
    /// The audit rows about a command.
    AuditOfRun { page: Page, filter: AuditFilter } of RunId => Paged<AuditView>, |list, engine, by, keys|
        engine.audit_of_runs(by, keys, &list.filter, list.page);
    /// The audit rows about an action.
    AuditOfAction { page: Page, filter: AuditFilter } of ActionId => Paged<AuditView>, |list, engine, by, keys|
        engine.audit_of_actions(by, keys, &list.filter, list.page);
    /// The events of a command.
    Events { after: Option<Cursor>, limit: u32, types: Vec<String>, min_severity: Option<Severity> }
        of RunId => EventPage, |list, engine, by, keys| async {
            let (types, min_severity) = (list.types.clone(), list.min_severity);
            let filter = EventFilter { types, min_severity, ..EventFilter::default() };
            engine.events_of(by, keys, &filter, (list.after, list.limit)).await
        };
}
