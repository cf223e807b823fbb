//! Patterns of hosts that flows may reach beside the sites of the installation.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A host name, a suffix of host names, or a network.
///
/// Names and addresses are judged apart: a name may be allowed whatever it resolves to,
/// an address only by a network that contains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Exactly this name, in lower case.
    Name(String),
    /// Any name below this one (`*.example.com`; not `example.com` itself).
    Below(String),
    /// Addresses whose first `prefix` bits are those of `network`; a lone address has all its bits.
    Network {
        /// First address.
        network: IpAddr,
        /// Number of leading bits that count.
        prefix: u8,
    },
}

/// A text that is no host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host name, *.suffix, address or network")]
pub struct NotAHostPattern;

impl HostPattern {
    /// Whether a host name is allowed, in whatever case and with or without the root dot.
    pub fn matches_name(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        match self {
            Self::Name(name) => *name == host,
            Self::Below(parent) => host
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| rest.strip_suffix('.').is_some_and(|label| !label.is_empty())),
            Self::Network { .. } => false,
        }
    }

    /// Whether an address is allowed. An IPv4 address mapped into IPv6 counts as the IPv4 address.
    pub fn matches_address(&self, address: IpAddr) -> bool {
        let Self::Network { network, prefix } = self else {
            return false;
        };
        let prefix = u32::from(*prefix);
        match (network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for HostPattern {
    type Err = NotAHostPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.to_ascii_lowercase();
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&text);
        if let Ok(network) = bare.parse::<IpAddr>() {
            return Ok(Self::Network { network, prefix: bits(network) });
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let network: IpAddr = address.parse().map_err(|_| NotAHostPattern)?;
            let prefix: u8 = prefix.parse().map_err(|_| NotAHostPattern)?;
            return if prefix <= bits(network) { Ok(Self::Network { network, prefix }) } else { Err(NotAHostPattern) };
        }
        match text.strip_prefix("*.") {
            Some(parent) if is_name(parent) => Ok(Self::Below(parent.to_owned())),
            None if is_name(&text) => Ok(Self::Name(text)),
            _ => Err(NotAHostPattern),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Network { network, prefix } if *prefix == bits(*network) => {
                write!(f, "{network}")
            }
            Self::Network { network, prefix } => write!(f, "{network}/{prefix}"),
        }
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_allows_what_it_says_and_nothing_beside_it() {
        for (pattern, host, allowed) in [
            ("localhost", "LOCALHOST.", true),
            ("localhost", "localhost.evil.com", false),
            ("*.corp.example", "a.b.corp.example", true),
            ("*.corp.example", "corp.example", false),
            ("*.corp.example", "evilcorp.example", false),
            ("10.0.0.0/8", "10.0.0.1", false),
        ] {
            let pattern: HostPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches_name(host), allowed, "{pattern} {host}");
        }
        for (pattern, address, allowed) in [
            ("127.0.0.0/8", "127.9.9.9", true),
            ("127.0.0.0/8", "::ffff:127.0.0.1", true),
            ("127.0.0.0/8", "128.0.0.1", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("[::1]", "::1", true),
            ("::1", "::2", false),
            ("fd00::/8", "fd12::1", true),
        ] {
            let pattern: HostPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches_address(address.parse().unwrap()), allowed, "{pattern} {address}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "*", "*.", "a..b", "10.0.0.0/33", "x/8", "http://a", "a b", "a:80", "::1/129"] {
            assert_eq!(text.parse::<HostPattern>(), Err(NotAHostPattern), "{text:?}");
        }
    }
}
