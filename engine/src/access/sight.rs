//! Which events of the node's tail a principal sees.
//!
//! Reads from the database are filtered by Postgres itself; the tail holds the events of every
//! client, so this one function stands where row-level security cannot.

use super::Principal;
use crate::read::EventView;

impl Principal {
    /// Whether the event is of a client that the principal acts for.
    pub(crate) fn sees(&self, event: &EventView) -> bool {
        self.may_act_for(&event.clientid)
    }
}
