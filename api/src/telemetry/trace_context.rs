//! W3C Trace Context: the `traceparent` header, level 1, read strictly.

use std::fmt;

/// Where a request stands in a distributed trace. Neither id is ever all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
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
    pub fn start(mut trace_id: [u8; 16], mut span_id: [u8; 8]) -> Self {
        if trace_id == [0; 16] {
            trace_id[15] = 1;
        }
        if span_id == [0; 8] {
            span_id[7] = 1;
        }
        Self { trace_id, span_id, sampled: true }
    }

    /// The same trace, one span further.
    pub fn child(self, span_id: [u8; 8]) -> Self {
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
}
