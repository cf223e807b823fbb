//! Where an operator's act is done: in the database of DATABASE_URL, or over the API.

use std::time::Duration;

use fermata_engine::Engine;

use super::api::{Api, ApiArgs};
use super::migrate::configured_database;
use crate::process::{Trouble, small_engine};

/// How long leaving the database may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Who does it.
pub(super) enum Desk {
    /// The database itself; the API may be down.
    Database(Engine),
    /// The API.
    Api(Api),
}

impl Desk {
    /// The database where one is named and no API is meant.
    pub(super) async fn find(args: &ApiArgs) -> Result<Self, Trouble> {
        match configured_database()? {
            Some(url) if !args.is_meant() => Ok(Self::Database(small_engine(&url, &std::env::temp_dir()).await?)),
            _ => Ok(Self::Api(Api::find(args)?)),
        }
    }

    /// Leaves it.
    pub(super) async fn close(self) {
        if let Self::Database(engine) = self {
            engine.close(CLOSE_LIMIT).await;
        }
    }
}
