//! Opens pages.

use std::sync::Once;
use std::time::Duration;

use fermata_engine::clock::Clock;
use serde_json::json;
use thirtyfour::{Capabilities, WebDriver};

use super::carrier::{Carrier, Fence};
use super::error::BrowserError;
use super::page::Page;

/// What a command may take beyond the loading of a page: starting a browser, a screenshot, an upload.
const REQUEST_MARGIN: Duration = Duration::from_secs(30);

/// Flags for every Chromium: no network noise of its own, nothing that a server has no use for.
const CHROMIUM_FLAGS: [&str; 8] = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
];

/// How browsers are opened.
#[derive(Debug, Clone)]
pub struct BrowserOptions {
    /// Without a window.
    pub headless: bool,
    /// How long a page may take to load.
    pub page_load_timeout: Duration,
}

impl Default for BrowserOptions {
    fn default() -> Self {
        Self { headless: true, page_load_timeout: Duration::from_secs(30) }
    }
}

/// Where browsers come from; cheap to clone.
#[derive(Debug, Clone)]
pub struct BrowserLane {
    endpoint: String,
    options: BrowserOptions,
    client: Result<reqwest::Client, String>,
}

impl BrowserLane {
    /// A lane that opens its sessions at this WebDriver endpoint, such as `http://127.0.0.1:41234`.
    pub fn new(endpoint: String, options: BrowserOptions) -> Self {
        ensure_tls_provider();
        // The endpoint is ours: a proxy of the environment is meant for the outside.
        let client = reqwest::Client::builder().no_proxy().build();
        Self { endpoint, options, client: client.map_err(|error| error.to_string()) }
    }

    /// Opens a browser with an empty profile of its own, for this run and epoch.
    pub async fn open(&self, fence: Fence) -> Result<Page, BrowserError> {
        let client = self.client.clone().map_err(|why| BrowserError::Unreachable { why })?;
        let carrier = Carrier::new(client, fence, self.options.page_load_timeout + REQUEST_MARGIN);
        let driver = WebDriver::builder(self.endpoint.clone(), self.capabilities()).client(carrier.clone()).connect();
        let driver = Box::pin(driver).await?;
        let page = Page::new(driver, carrier, Clock::system());
        page.set_load_timeout(self.options.page_load_timeout).await?;
        Ok(page)
    }

    fn capabilities(&self) -> Capabilities {
        let mut flags: Vec<&str> = CHROMIUM_FLAGS.to_vec();
        if self.options.headless {
            flags.push("--headless=new");
        }
        let wanted = [("browserName", json!("chrome")), ("goog:chromeOptions", json!({ "args": flags }))];
        let map: serde_json::Map<_, _> = wanted.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
        map.into()
    }
}

/// reqwest panics where no TLS provider is installed; whoever installed one before us wins.
fn ensure_tls_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Losing the race against another installer is as good as winning it.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
    });
}
