//! W3C Trace Context: the `traceparent` header, level 1, read strictly; and the places of a run.

use std::fmt;

use crate::id::RunId;

/// The id of a span within its trace; never all zeros.
pub type SpanId = [u8; 8];

/// Where a request, or a piece of a run, stands in a distributed trace. Neither id is ever all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: SpanId,
    sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent` header. `None` means: start a trace of our own, as the standard asks.
    ///
    /// Version 00 must fit exactly; a later version may go on after a dash, and only its first four
    /// parts are read. Version ff, capital letters and ids of zeros are refused.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.splitn(5, '-');
        let [version] = bytes::<1>(parts.next()?)?;
        let trace_id = bytes::<16>(parts.next()?)?;
        let span_id = bytes::<8>(parts.next()?)?;
        let [flags] = bytes::<1>(parts.next()?)?;
        let has_more = parts.next().is_some();
        let refused = version == 0xff || (version == 0 && has_more) || trace_id == [0; 16] || span_id == [0; 8];
        (!refused).then_some(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }

    /// A new trace. Unfit random bytes (zeros only) are mended, not refused.
    pub fn start(mut trace_id: [u8; 16], mut span_id: SpanId) -> Self {
        if trace_id == [0; 16] {
            trace_id[15] = 1;
        }
        if span_id == [0; 8] {
            span_id[7] = 1;
        }
        Self { trace_id, span_id, sampled: true }
    }

    /// The same trace, one span further.
    pub fn child(self, span_id: SpanId) -> Self {
        let sampled = self.sampled;
        Self { sampled, ..Self::start(self.trace_id, span_id) }
    }

    /// The trace's id: 32 lower-case hex digits.
    pub fn trace_id(&self) -> String {
        hex::encode(self.trace_id)
    }

    /// The span's id: 16 lower-case hex digits.
    pub fn span_id(&self) -> String {
        hex::encode(self.span_id)
    }

    /// Whether the caller records this trace.
    pub const fn sampled(&self) -> bool {
        self.sampled
    }

    /// The trace's id as it is sent to a collector.
    pub const fn trace_bytes(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The span's id as it is sent to a collector.
    pub const fn span_bytes(&self) -> SpanId {
        self.span_id
    }

    /// The span and its flags, as they are stored beside the trace's id.
    pub(crate) fn caller(&self) -> String {
        format!("{}-{:02x}", self.span_id(), u8::from(self.sampled))
    }
}

/// A run's places in its trace. Made of what is stored, so that every node finds the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunTrace {
    run: RunId,
    generation: i32,
    command: TraceContext,
    parent: Option<SpanId>,
}

impl RunTrace {
    /// The places of a run with this trace id that `caller` asked for, or `parent` began.
    pub(crate) fn new(
        run: RunId,
        generation: i32,
        trace_id: &str,
        caller: Option<&str>,
        parent: Option<RunId>,
    ) -> Self {
        let caller = caller.and_then(|caller| TraceContext::parse(&format!("00-{trace_id}-{caller}")));
        // Ids that no `traceparent` could carry are older than this room.
        let trace_id = bytes(trace_id).unwrap_or(*run.0.as_bytes());
        let sampled = caller.is_none_or(|caller| caller.sampled);
        let command = TraceContext { sampled, ..TraceContext::start(trace_id, span_of(run)) };
        let parent = parent.map(span_of).or(caller.map(|caller| caller.span_id));
        Self { run, generation, command, parent }
    }

    /// The command as a whole.
    pub(crate) const fn command(&self) -> TraceContext {
        self.command
    }

    /// Who asked for it: the caller's span, or the command that began this one.
    pub(crate) const fn parent(&self) -> Option<SpanId> {
        self.parent
    }

    /// One delivery.
    pub(crate) fn episode(&self, epoch: i32) -> TraceContext {
        self.place(&[b"episode", &epoch.to_be_bytes()])
    }

    /// One attempt at a step, whoever makes it.
    pub(crate) fn attempt(&self, key: &str, attempt: u16) -> TraceContext {
        self.place(&[b"attempt", &self.generation.to_be_bytes(), &attempt.to_be_bytes(), key.as_bytes()])
    }

    /// One of several things below `above`.
    pub(crate) fn within(&self, above: TraceContext, what: &str, nth: u64) -> TraceContext {
        self.place(&[b"within", &above.span_id, &nth.to_be_bytes(), what.as_bytes()])
    }

    fn place(&self, parts: &[&[u8]]) -> TraceContext {
        let run = self.run.0.as_bytes().as_slice();
        self.command.child(scattered(std::iter::once(run).chain(parts.iter().copied())))
    }
}

/// The span of a command: the random half of its own id, whose variant bits are never all zero.
/// Its events name it as the parent of all that happens in it.
pub(crate) fn span_of(run: RunId) -> SpanId {
    let (_, span) = run.0.as_u64_pair();
    span.to_be_bytes()
}

/// An id out of parts, the same on every machine and in every version: FNV-1a, whose bits are then
/// mixed as in splitmix64. Ids of one trace must differ; nobody has to be kept from guessing them.
fn scattered<'a>(parts: impl Iterator<Item = &'a [u8]>) -> SpanId {
    let eat = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = parts.flatten().fold(0xcbf2_9ce4_8422_2325, eat);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ (hash >> 31)).to_be_bytes()
}

/// The header to send on.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id(), self.span_id(), u8::from(self.sampled))
    }
}

/// Exactly `N` bytes in lower-case hex.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: [&str; 4] = [
        "00-4bf92f3577b34da6a3ce929d0e0e4736-80000000000000aa-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-8b9fe0681abbc65e-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-33cf3f1cc2739fc4-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-cf3a29e6339e1dac-01",
    ];
    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_survives_the_round_trip() {
        let context = TraceContext::parse(HEADER).unwrap();
        assert_eq!(context.to_string(), HEADER);
        let child = context.child([7; 8]);
        assert_eq!((child.trace_id(), child.span_id()), (context.trace_id(), "07".repeat(8)));
        assert_eq!(
            TraceContext::parse(&TraceContext::start([0; 16], [0; 8]).to_string()).map(|c| c.sampled()),
            Some(true)
        );
    }

    #[test]
    fn a_malformed_header_is_refused() {
        let longer = format!("{HEADER}-extra");
        assert!(TraceContext::parse(&longer.replacen("00", "01", 1)).is_some());
        for bad in [
            "",
            &longer,
            &longer.replacen("00", "ff", 1),
            &HEADER.to_uppercase(),
            &HEADER.replace('-', "_"),
            &HEADER[..54],
            &format!(" {HEADER}"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    const RUN: RunId = RunId(uuid::Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_00aa));
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn trace(caller: Option<&str>) -> RunTrace {
        RunTrace::new(RUN, 0, TRACE, caller, None)
    }

    #[test]
    fn every_node_finds_the_same_places_and_they_never_change() {
        let trace = trace(Some("00f067aa0ba902b7-01"));
        let told = [trace.command(), trace.episode(1), trace.episode(2), trace.attempt("publish", 1)];
        let told = told.map(|place| place.to_string());
        // Written out: a new version must go on with the traces of the old one.
        assert_eq!(told, PLACES);
        assert_eq!(trace.parent().map(hex::encode).as_deref(), Some("00f067aa0ba902b7"));
    }

    #[test]
    fn what_differs_has_places_that_differ() {
        let one = trace(None);
        let renewed = RunTrace::new(RUN, 1, TRACE, None, None);
        let mut all = vec![one.command(), one.episode(1), one.episode(2), renewed.attempt("a", 1)];
        all.extend([one.attempt("a", 1), one.attempt("a", 2), one.attempt("b", 1), one.attempt("a[1]", 1)]);
        all.extend([one.within(one.attempt("a", 1), "look", 1), one.within(one.attempt("a", 1), "look", 2)]);
        all.push(one.within(one.attempt("a", 1), "call", 1));
        let spans: std::collections::BTreeSet<_> = all.iter().map(TraceContext::span_id).collect();
        assert_eq!(spans.len(), all.len());
        assert!(all.iter().all(|place| place.trace_id() == TRACE));
    }

    #[test]
    fn a_run_without_a_caller_is_the_root_and_a_child_hangs_below_its_parent() {
        assert_eq!((trace(None).parent(), trace(None).command().sampled()), (None, true));
        let unsampled = trace(Some("00f067aa0ba902b7-00"));
        assert!(!unsampled.command().sampled() && !unsampled.attempt("a", 1).sampled());
        let parent = RunId(uuid::Uuid::from_u128(7));
        let child = RunTrace::new(RUN, 0, TRACE, Some("00f067aa0ba902b7-00"), Some(parent));
        assert_eq!((child.parent(), child.command().sampled()), (Some(span_of(parent)), false));
    }

    #[test]
    fn a_stored_id_that_is_none_still_gives_one_trace() {
        let odd = RunTrace::new(RUN, 0, "abc", Some("garbage"), None);
        assert_eq!((odd.command().trace_id(), odd.parent()), (RUN.0.simple().to_string(), None));
        assert_eq!(odd.episode(3).trace_id(), odd.command().trace_id());
    }

    #[test]
    fn what_is_stored_of_a_caller_reads_back() {
        let caller = TraceContext::parse(HEADER).unwrap();
        assert_eq!(trace(Some(&caller.caller())).parent(), Some(caller.span_bytes()));
    }
}
