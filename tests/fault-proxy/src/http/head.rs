//! The head of an HTTP/1.1 message: its first line and the few fields that tell where it ends.

/// These bytes are no message of HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Garbage;

/// What is read of a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The request line or the status line.
    pub(crate) line: String,
    pub(crate) length: Option<u64>,
    pub(crate) is_chunked: bool,
    /// A stream of server-sent events: it has no end to wait for.
    pub(crate) is_event_stream: bool,
}

impl Head {
    /// Reads a whole head, the empty line after it included.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Garbage> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.trim_start().split("\r\n");
        let mut head = Self { line: lines.next().unwrap_or_default().to_owned(), ..Self::default() };
        if !head.line.contains("HTTP/1.") {
            return Err(Garbage);
        }
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let length = value.parse().map_err(|_| Garbage)?;
                    if head.length.is_some_and(|other| other != length) {
                        return Err(Garbage);
                    }
                    head.length = Some(length);
                }
                "transfer-encoding" => head.is_chunked = value.to_ascii_lowercase().ends_with("chunked"),
                "content-type" => head.is_event_stream = value.starts_with("text/event-stream"),
                _ => {}
            }
        }
        Ok(head)
    }

    pub(crate) fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    pub(crate) fn status(&self) -> Result<u16, Garbage> {
        self.line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(Garbage)
    }
}
