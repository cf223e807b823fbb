//! Sites: addresses that flows know by name.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

use super::value::is_url;

/// The longest name of a site.
const MAX_NAME_BYTES: usize = 100;

/// A site: flows write `${env.<name>}` where its address is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name: a lower-case letter, then lower-case letters, digits and underscores.
    pub name: String,
    /// Its address: http or https, without credentials.
    pub address: String,
}

/// A text that is no site. It does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write NAME=URL: a name of lower-case letters, digits and _, and a URL of http or https without credentials")]
pub struct NotASite;

impl FromStr for Site {
    type Err = NotASite;

    fn from_str(text: &str) -> Result<Self, NotASite> {
        let (name, address) = text.split_once('=').ok_or(NotASite)?;
        let (name, address) = (name.trim(), address.trim());
        if !is_name(name) || !is_address(address) {
            return Err(NotASite);
        }
        Ok(Self { name: name.to_owned(), address: address.to_owned() })
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.address)
    }
}

/// Whether a text can name a site.
pub(super) fn is_name(text: &str) -> bool {
    let goes_on = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(goes_on) && text.len() <= MAX_NAME_BYTES
}

/// Whether a text can be the address of a site. Requests put paths behind it, so it ends before a query.
pub(super) fn is_address(text: &str) -> bool {
    let is_web = text.starts_with("http://") || text.starts_with("https://");
    is_web
        && is_url(text)
        && Url::parse(text).is_ok_and(|url| {
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_a_name_and_a_web_address() {
        let site: Site = " demo_site = http://127.0.0.1:7079/x ".parse().unwrap();
        assert_eq!(site.to_string(), "demo_site=http://127.0.0.1:7079/x");
        for text in [
            "a",
            "=http://b",
            "A=http://b",
            "a-b=http://c",
            "a=",
            "a=b",
            "a=ftp://b",
            "a=http://",
            "a=http://u:p@b",
            "a=http://b?c",
        ] {
            assert_eq!(text.parse::<Site>(), Err(NotASite), "{text}");
        }
    }
}
