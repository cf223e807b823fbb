//! What is particular to one installation, and the workflows that it hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use fermata_engine::clock::Clock;
use fermata_engine::workflow::Registry;
use serde_json::Value;

use crate::action::ActionRun;
use crate::bench::BenchSteps;
use crate::browser::BrowserLane;
use crate::classifiers;
use crate::flow::{AllowList, Flow, FlowError, FlowRun, HttpError, HttpLane, Tools};
use crate::host::HostPattern;
use crate::packs::packs;
use crate::sora::SoraGenerate;
use crate::words::vocabulary;

/// What is particular to one installation.
#[derive(Debug)]
pub struct Installation {
    /// The installed flows.
    pub flows: Vec<Flow>,
    /// Addresses of sites by name, without a slash at the end; flows name them `${env.<name>}`.
    /// Their hosts are allowed.
    pub sites: BTreeMap<String, String>,
    /// Further hosts that flows may reach, on any port.
    pub allow_hosts: Vec<HostPattern>,
    /// Where programs answer that say which flags content has, by the names that policies call them by.
    pub classifiers: BTreeMap<String, String>,
    /// Where browsers come from; without it flows with browser steps fail.
    pub browser: Option<BrowserLane>,
    /// Time.
    pub clock: Clock,
}

impl Installation {
    /// An installation with the flows that come with Fermata, no site and no browser.
    pub fn with_packs(clock: Clock) -> Result<Self, FlowError> {
        let (sites, classifiers, allow_hosts) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Ok(Self { flows: packs()?, sites, allow_hosts, classifiers, browser: None, clock })
    }
}

/// The workflows of an installation. Of several flows with one name the last wins.
pub fn registry(installation: Installation) -> Result<Registry, HttpError> {
    let Installation { flows, sites, allow_hosts, classifiers, browser, clock } = installation;
    let classifiers = classifiers::of(&classifiers, &clock)?;
    let allowed = AllowList::new(allow_hosts, sites.values().map(String::as_str));
    let sites = sites.into_iter().map(|(name, address)| (name, Value::from(address.trim_end_matches('/'))));
    let tools = Tools { http: HttpLane::new(allowed, clock)?, browser, sites: sites.collect() };
    let words = vocabulary(&flows);
    let flows = flows.into_iter().map(|flow| (flow.name().to_owned(), Arc::new(flow))).collect();
    let flows = FlowRun::new(flows, tools, words.clone());
    let registry = Registry::new().knowing(words).classifying(classifiers).with(SoraGenerate::new(flows.clone()));
    Ok(registry.with(ActionRun::new(flows.clone())).with(flows).with(BenchSteps))
}
