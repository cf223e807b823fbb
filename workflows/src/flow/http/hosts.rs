//! Which hosts flows may reach.

use std::collections::BTreeSet;

use reqwest::Url;

/// The hosts that flows may reach: `example.org` with any port, `127.0.0.1:7079` with that one.
#[derive(Debug, Clone, Default)]
pub struct AllowList {
    hosts: BTreeSet<String>,
}

impl AllowList {
    /// A list of hosts, and of addresses whose hosts are meant with their ports.
    pub fn new<'a>(hosts: impl IntoIterator<Item = &'a str>, addresses: impl IntoIterator<Item = &'a str>) -> Self {
        let listed = hosts.into_iter().map(str::to_ascii_lowercase);
        let of_addresses = addresses.into_iter().filter_map(|address| with_port(&Url::parse(address).ok()?));
        Self { hosts: listed.chain(of_addresses).collect() }
    }

    /// Whether a flow may reach that address: http or https, no credentials in it, a listed host.
    pub fn allows(&self, url: &Url) -> bool {
        let is_web = matches!(url.scheme(), "http" | "https");
        let is_plain = url.username().is_empty() && url.password().is_none();
        let listed = |host: Option<String>| host.is_some_and(|host| self.hosts.contains(&host));
        is_web && is_plain && (listed(url.host_str().map(str::to_ascii_lowercase)) || listed(with_port(url)))
    }
}

fn with_port(url: &Url) -> Option<String> {
    Some(format!("{}:{}", url.host_str()?.to_ascii_lowercase(), url.port_or_known_default()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_hosts_are_reached_and_only_over_the_web() {
        let list = AllowList::new(["Example.org", "10.0.0.1:8080"], ["http://127.0.0.1:7079/x"]);
        for (address, allowed) in [
            ("https://example.org/a", true),
            ("http://EXAMPLE.org:81/", true),
            ("http://10.0.0.1:8080/", true),
            ("http://10.0.0.1/", false),
            ("http://127.0.0.1:7079/", true),
            ("http://127.0.0.1:5432/", false),
            ("http://sub.example.org/", false),
            ("http://me:pw@example.org/", false),
            ("ftp://example.org/", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(list.allows(&Url::parse(address).unwrap()), allowed, "{address}");
        }
    }
}
