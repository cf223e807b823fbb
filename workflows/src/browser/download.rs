//! Fetching a file behind a link: the page itself does it, and hands it over in pieces.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::condition::LOOK_INTERVAL;
use super::error::BrowserError;
use super::page::Page;
use super::script;

/// How much of a file one answer of the driver carries, before it is written as base64.
const PIECE_BYTES: usize = 512 * 1024;
/// The longest content type that is passed on.
const CONTENT_TYPE_MAX_BYTES: usize = 100;
/// The content type of a file of which nobody says what it is.
const UNKNOWN_CONTENT: &str = "application/octet-stream";

/// A file that a page fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Where it came from, after every redirect.
    pub address: String,
    /// What the platform says it is.
    pub content_type: String,
    /// It.
    pub bytes: Vec<u8>,
}

/// What the page tells of a file that it fetches.
#[derive(Debug, Deserialize)]
struct Told {
    status: Option<u16>,
    address: Option<String>,
    content_type: Option<String>,
    bytes: Option<usize>,
    too_large: bool,
    why: Option<String>,
}

/// Where the fetching stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    UnderWay,
    /// So many bytes lie in the page.
    Fetched(usize),
}

impl Told {
    fn standing(&self, most: usize) -> Result<Standing, BrowserError> {
        let too_large = self.too_large || self.bytes.is_some_and(|bytes| bytes > most);
        match (self.status, self.bytes) {
            (Some(status), _) if !(200..300).contains(&status) => Err(BrowserError::DownloadRefused { status }),
            _ if too_large => Err(BrowserError::DownloadTooLarge { most }),
            (_, Some(bytes)) => Ok(Standing::Fetched(bytes)),
            (_, None) => match &self.why {
                Some(why) => Err(failed(why)),
                None => Ok(Standing::UnderWay),
            },
        }
    }
}

impl Page {
    /// Fetches an address as the page's own scripts would: with the session's cookies where it is of
    /// the page's own site, and only where the page's policy and the other site allow it. Whoever
    /// asks has made sure that the address may be reached.
    pub async fn download(&self, address: &str, most: usize, limit: Duration) -> Result<Download, BrowserError> {
        script::run(&self.driver, script::DOWNLOAD, vec![json!("begin"), json!(address), json!(most)]).await?;
        let fetched = self.fetched(most, limit).await;
        // Whatever came of it, the page is not left holding the file. A page that is gone holds none.
        if let Err(error) = script::run(&self.driver, script::DOWNLOAD, vec![json!("end")]).await {
            tracing::debug!(error = %error, "a page keeps what it fetched until it is left");
        }
        fetched
    }

    async fn fetched(&self, most: usize, limit: Duration) -> Result<Download, BrowserError> {
        let until = self.clock.monotonic() + limit;
        let (told, size) = loop {
            let answer = script::run(&self.driver, script::DOWNLOAD, vec![json!("look")]).await?;
            let told = Option::<Told>::deserialize(answer).ok().flatten();
            let told = told.ok_or_else(|| failed("the page was left meanwhile"))?;
            if let Standing::Fetched(size) = told.standing(most)? {
                break (told, size);
            }
            if self.clock.monotonic() >= until {
                return Err(failed(&format!("it took longer than {} ms", limit.as_millis())));
            }
            self.clock.wait(LOOK_INTERVAL).await;
        };
        let mut bytes = Vec::with_capacity(size);
        while bytes.len() < size {
            let to = size.min(bytes.len() + PIECE_BYTES);
            bytes.extend(self.piece(bytes.len(), to).await?);
        }
        Ok(Download {
            address: told.address.unwrap_or_default(),
            content_type: content_type(told.content_type.as_deref()),
            bytes,
        })
    }

    async fn piece(&self, from: usize, to: usize) -> Result<Vec<u8>, BrowserError> {
        let asked = vec![json!("piece"), json!(from), json!(to)];
        let answer = script::run(&self.driver, script::DOWNLOAD, asked).await?;
        let piece = answer.as_str().and_then(|text| thirtyfour::support::base64_decode(text).ok());
        piece.filter(|piece| piece.len() == to - from).ok_or_else(|| failed("a piece of it is missing"))
    }
}

/// A content type that can stand in a header, without what would change how it is written.
fn content_type(said: Option<&str>) -> String {
    let fits = |said: &&str| {
        let is_written = said.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        !said.is_empty() && said.len() <= CONTENT_TYPE_MAX_BYTES && is_written
    };
    said.map(str::trim).filter(fits).unwrap_or(UNKNOWN_CONTENT).to_owned()
}

fn failed(why: &str) -> BrowserError {
    BrowserError::DownloadFailed { why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn told(change: &Value) -> Told {
        let mut told = json!({"status": 200, "address": "http://h/film", "content_type": null, "bytes": null,
            "too_large": false, "why": null});
        told.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(told).unwrap()
    }

    #[test]
    fn a_file_is_taken_whole_or_not_at_all() {
        assert_eq!(told(&json!({"bytes": 10})).standing(10).unwrap(), Standing::Fetched(10));
        assert_eq!(told(&json!({})).standing(10).unwrap(), Standing::UnderWay);
        assert_eq!(told(&json!({"status": null})).standing(10).unwrap(), Standing::UnderWay);
        for (change, most) in [(json!({"too_large": true}), 10), (json!({"bytes": 11}), 10)] {
            assert!(matches!(told(&change).standing(most), Err(BrowserError::DownloadTooLarge { most: 10 })));
        }
        let cut = told(&json!({"why": "network error"}));
        assert!(matches!(cut.standing(10), Err(BrowserError::DownloadFailed { .. })));
    }

    #[test]
    fn an_answer_that_is_no_success_is_never_taken_for_the_file() {
        for (status, again) in [(404, false), (302, false), (429, true), (503, true)] {
            let refused = told(&json!({"status": status, "bytes": 3, "why": "aborted"})).standing(10).unwrap_err();
            assert!(matches!(refused, BrowserError::DownloadRefused { status: said } if said == status));
            assert_eq!(refused.is_transient(), again, "{status}");
        }
    }

    #[test]
    fn a_content_type_is_passed_on_only_where_it_can_stand_in_a_header() {
        assert_eq!(content_type(Some(" video/mp4; codecs=avc1 ")), "video/mp4; codecs=avc1");
        for odd in [None, Some(""), Some("a\r\nb"), Some("vidéo"), Some("x".repeat(101).as_str())] {
            assert_eq!(content_type(odd), UNKNOWN_CONTENT, "{odd:?}");
        }
    }
}
