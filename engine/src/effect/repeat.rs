//! Whether an account has posted the text of an action before: asked before the plan, not with the attempt.

use super::perform::{Performance, Stage};
use super::preflight::{Judged, unread};
use crate::policy::unless_repeated;

impl Performance<'_> {
    /// The verdict with what the account has posted before. An earlier attempt of the same intent is no repeat.
    pub(super) async fn unrepeated(&self, judged: Judged) -> Result<Judged, Stage> {
        let Judged { policy, verdict, .. } = &judged;
        let (store, now) = (&self.context.session.host.store, self.context.clock().now());
        let asked = (policy, self.asked_about());
        let beside = std::collections::BTreeSet::new();
        let verdict = unless_repeated(store, asked, Some(&self.identity.hash), (verdict.clone(), now), &beside);
        let verdict = verdict.await.map_err(unread)?;
        Ok(Judged { verdict, ..judged })
    }
}
