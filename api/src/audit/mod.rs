//! Where signed heads of the audit trail go, and the key that signs them: outside of the database.

mod key;
mod sinks;

use std::sync::Arc;

use fermata_engine::audit::{HeadSink, Sealing};

pub(crate) use key::signing_key;
use sinks::{HeadsFile, HeadsUrl};

use crate::config::Config;
use crate::process::Trouble;

/// How this installation seals its audit trail.
pub(crate) fn sealing(config: &Config) -> Result<Sealing, Trouble> {
    let mut sinks: Vec<Arc<dyn HeadSink>> = vec![Arc::new(HeadsFile::new(config.audit_heads_file.clone()))];
    if let Some(url) = &config.audit_heads_url {
        sinks.push(Arc::new(HeadsUrl::new(url)?));
    }
    Ok(Sealing { key: Some(signing_key(&config.audit_key_file)?), sinks })
}
