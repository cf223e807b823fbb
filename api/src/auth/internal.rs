//! The key that the services of an installation share (O-065).

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;

/// The key that services show each other. Cheap to clone, and does not print itself.
#[derive(Clone)]
pub struct InternalKey(Arc<str>);

impl InternalKey {
    /// The key of this installation (`INTERNAL_KEY`).
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        Self(key.into())
    }

    /// Whether it is this one, in a time that does not tell how much of it fits.
    pub(super) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for InternalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[internal key]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_fits() {
        let key = InternalKey::new("sesame");
        assert!(key.is("sesame"));
        for other in ["", "sesam", "sesame ", "sesamf", "SESAME"] {
            assert!(!key.is(other), "{other}");
        }
        assert!(!format!("{key:?}").contains("sesame"));
    }
}
