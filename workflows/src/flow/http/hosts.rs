//! Which hosts flows may reach.

use std::collections::BTreeSet;
use std::net::IpAddr;

use reqwest::Url;

use crate::host::HostPattern;

/// The hosts that flows may reach: what the installation's patterns allow, on any port, and its
/// sites, each on its own.
#[derive(Debug, Clone, Default)]
pub struct AllowList {
    patterns: Vec<HostPattern>,
    sites: BTreeSet<String>,
}

impl AllowList {
    /// A list of patterns, and of addresses whose hosts are meant with their ports.
    pub fn new<'a>(
        patterns: impl IntoIterator<Item = HostPattern>,
        addresses: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let sites = addresses.into_iter().filter_map(|address| with_port(&Url::parse(address).ok()?));
        Self { patterns: patterns.into_iter().collect(), sites: sites.collect() }
    }

    /// Whether a flow may reach that address: http or https, no credentials in it, an allowed host.
    pub fn allows(&self, url: &Url) -> bool {
        let is_web = matches!(url.scheme(), "http" | "https");
        let is_plain = url.username().is_empty() && url.password().is_none();
        is_web && is_plain && (self.is_site(url) || self.has_pattern_for(url))
    }

    fn is_site(&self, url: &Url) -> bool {
        with_port(url).is_some_and(|host| self.sites.contains(&host))
    }

    /// A name is judged as it is written, whatever it resolves to; an address by the networks.
    fn has_pattern_for(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(address) => self.patterns.iter().any(|pattern| pattern.matches_address(address)),
            Err(_) => self.patterns.iter().any(|pattern| pattern.matches_name(host)),
        }
    }
}

fn with_port(url: &Url) -> Option<String> {
    Some(format!("{}:{}", url.host_str()?.to_ascii_lowercase(), url.port_or_known_default()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(patterns: &[&str], sites: &[&str]) -> AllowList {
        AllowList::new(patterns.iter().map(|text| text.parse().unwrap()), sites.iter().copied())
    }

    #[test]
    fn only_listed_hosts_are_reached_and_only_over_the_web() {
        let list = list(&["Example.org"], &["http://127.0.0.1:7079/x", "https://shop.example.com"]);
        for (address, allowed) in [
            ("https://example.org/a", true),
            ("http://EXAMPLE.org:81/", true),
            ("http://example.org./", true),
            ("http://sub.example.org/", false),
            ("http://127.0.0.1:7079/", true),
            ("http://127.0.0.1:5432/", false),
            ("https://shop.example.com:443/", true),
            ("http://shop.example.com/", false),
            ("http://me:pw@example.org/", false),
            ("ftp://example.org/", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(list.allows(&Url::parse(address).unwrap()), allowed, "{address}");
        }
    }

    #[test]
    fn suffixes_and_networks_mean_what_they_say() {
        let list = list(&["*.corp.example", "10.1.0.0/16", "fd00::/8", "192.0.2.7"], &[]);
        for (address, allowed) in [
            ("http://a.corp.example/", true),
            ("https://b.a.CORP.example:8443/", true),
            ("http://corp.example/", false),
            ("http://evilcorp.example/", false),
            ("http://a.corp.example.evil.test/", false),
            ("http://10.1.2.3:9000/", true),
            ("http://10.2.0.1/", false),
            // The same address in another notation.
            ("http://167838211/", true),
            ("http://0x0a.1.2.3/", true),
            ("http://[fd12::1]:80/", true),
            ("http://[fe80::1]/", false),
            ("http://[::ffff:10.1.2.3]/", true),
            ("http://192.0.2.7/", true),
            ("http://192.0.2.8/", false),
            // A name that only looks like an allowed address.
            ("http://10.1.2.3.evil.test/", false),
        ] {
            assert_eq!(list.allows(&Url::parse(address).unwrap()), allowed, "{address}");
        }
    }
}
