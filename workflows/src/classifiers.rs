//! Classifiers of content that are programs of their own, asked by HTTP (Q-24; `docs/policies.md`, "Classifiers").

use std::collections::BTreeMap;

use async_trait::async_trait;
use fermata_engine::clock::Clock;
use fermata_engine::policy::{CLASSIFY_TIME, Classifier, Classifiers, Content, Unanswered};
use reqwest::Url;
use serde::Deserialize;

use crate::flow::{AllowList, HttpError, HttpLane, Request};

/// A program that is asked which flags content has.
struct HttpClassifier {
    http: HttpLane,
    url: Url,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    flags: Vec<String>,
}

/// The classifiers at these addresses, by name.
pub(crate) fn of(addresses: &BTreeMap<String, String>, clock: &Clock) -> Result<Classifiers, HttpError> {
    // Each reaches its own host and no other.
    addresses.iter().try_fold(Classifiers::new(), |classifiers, (name, address)| {
        let url = Url::parse(address).map_err(|error| HttpError::Address { why: error.to_string() })?;
        let http = HttpLane::new(AllowList::new(Vec::new(), std::iter::once(address.as_str())), clock.clone())?;
        Ok(classifiers.with(name, HttpClassifier { http, url }))
    })
}

#[async_trait]
impl Classifier for HttpClassifier {
    async fn flags(&self, content: &Content<'_>) -> Result<Vec<String>, Unanswered> {
        let body = serde_json::to_vec(content).map_err(|error| Unanswered(error.to_string()))?;
        let answer = self.http.send(Request::question(self.url.clone(), body, CLASSIFY_TIME)).await;
        let answer = answer.map_err(|error| Unanswered(error.to_string()))?;
        if answer.status != 200 {
            return Err(Unanswered(format!("it answered {} and not 200", answer.status)));
        }
        let said = Said::deserialize(&answer.body);
        said.map(|said| said.flags)
            .map_err(|error| Unanswered(format!("it did not answer `{{\"flags\": [...]}}`: {error}")))
    }
}
