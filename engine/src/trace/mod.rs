//! Traces: where a run stands in one (W3C Trace Context), and its spans.
//!
//! Owns the ids of spans and what a span says; knows nothing of where spans go ([`SpanSink`]) and
//! nothing of OpenTelemetry. Read [`TraceContext`] and [`Span`] first. A new span is one function
//! in `recorder.rs`, with an id that is made of what is in the database.
//!
//! One command is one trace, from its caller across crash and resume:
//!
//! ```text
//! the caller's span                 its id is stored with the run (`run.caller`)
//! └ engine.command.carry            id: of the run. From acceptance to the end; told by who ends it
//!   ├ engine.run.drive              id: of run and epoch. One episode: one delivery on one node
//!   │ ├ engine.step.attempt         id: of run, generation, key and attempt
//!   │ └ engine.step.attempt         an effect's
//!   │   ├ engine.effect.look
//!   │   └ side_effect.action
//!   └ engine.run.drive              after a crash, or after a wait
//! ```
//!
//! A span is told once, by whoever ends what it is of: a process that was killed tells of nothing
//! that it had open. So no id is drawn by lot. The attempt that a killed worker had begun is the
//! same attempt, with the same span id, when another worker ends it; what that id was sent out
//! with (`traceparent`) hangs together again. The episode of a killed worker is told by the
//! next holder, who finds in the events when it began, when it was found dead, and on which node.
//! A child's command span hangs below its parent's. A command that is cancelled before anybody took
//! it has no spans.
//!
//! Spans hold names, ids, keys of steps and codes of errors; never an input, a result or an address.

mod context;
mod recorder;
mod span;

pub use context::SpanId;
pub use context::TraceContext;
pub(crate) use context::span_of;
pub(crate) use recorder::{Called, Part, Recorder, lost};
pub use span::{Attribute, Span, SpanKind, SpanSink, Traces};
