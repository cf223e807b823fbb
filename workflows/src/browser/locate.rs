//! Finds the one control that a target means.
//!
//! One script gathers candidates for every tier in one round trip; the driver's computed label and
//! role then confirm the accessible ones. The rough name of the script only filters: what it takes
//! for likely is asked first, what it takes for possible only if nothing likely was confirmed.

use std::pin::Pin;

use serde_json::{Value, json};
use thirtyfour::{WebDriver, WebElement};

use super::error::BrowserError;
use super::script;
use super::target::{Target, Tier};

/// How many candidates of one list are put to the driver, each by one or two requests.
const CONFIRM_MAX: usize = 20;

/// Whether hidden controls count. Only file inputs are used while hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    Visible,
    Any,
}

/// The control, and how it was found.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) element: WebElement,
    pub(super) tier: Tier,
}

type Finding<'a, T> = Pin<Box<dyn Future<Output = Result<T, BrowserError>> + Send + 'a>>;

/// The one control that matches, or why there is none.
pub(super) fn locate<'a>(driver: &'a WebDriver, target: &'a Target, sight: Sight) -> Finding<'a, Match> {
    Box::pin(async move {
        let (tier, mut found) = search(driver, target, sight).await?;
        match (found.count, found.elements.pop()) {
            (1, Some(element)) => {
                tracing::debug!(locator.tier = tier.as_str(), "found {target} by {}", tier.as_str());
                Ok(Match { element, tier })
            }
            (0, _) | (_, None) => Err(BrowserError::NotFound { target: target.to_string() }),
            (count, Some(_)) => Err(BrowserError::Ambiguous { target: target.to_string(), count }),
        }
    })
}

/// What one list holds; `count` may exceed what came along.
#[derive(Debug, Default)]
struct Found {
    count: usize,
    elements: Vec<WebElement>,
}

impl Found {
    fn of(elements: Vec<WebElement>) -> Self {
        Self { count: elements.len(), elements }
    }
}

async fn search(driver: &WebDriver, target: &Target, sight: Sight) -> Result<(Tier, Found), BrowserError> {
    if let Some(why) = target.fault() {
        return Err(unusable(target, why));
    }
    let scope = match &target.within {
        Some(outer) => locate(driver, outer, Sight::Visible).await?.element.to_json()?,
        None => Value::Null,
    };
    let arguments = vec![json!(target), scope, json!(sight == Sight::Any)];
    let lists = script::run(driver, script::LOCATE, arguments).await?;
    if let Some(why) = lists.get("bad").and_then(Value::as_str) {
        return Err(unusable(target, why));
    }
    if target.has_accessible() {
        let found = accessible(driver, target, &lists).await?;
        if found.count > 0 {
            return Ok((Tier::Accessible, found));
        }
    }
    let text = list(driver, &lists, "text")?;
    let text = confirm_role_of_text(driver, target, text).await?;
    if text.count > 0 {
        return Ok((Tier::Text, text));
    }
    let data = list(driver, &lists, "data")?;
    if data.count > 0 {
        return Ok((Tier::Data, data));
    }
    Ok((Tier::Css, list(driver, &lists, "css")?))
}

async fn accessible(driver: &WebDriver, target: &Target, lists: &Value) -> Result<Found, BrowserError> {
    let likely = list(driver, lists, "accessible")?;
    let mut confirmed = confirm(driver, target, likely.elements).await?;
    for labelled in list(driver, lists, "labelled")?.elements {
        let known = confirmed.iter().any(|other| other.element_id() == labelled.element_id());
        if !known && role_fits(driver, target, &labelled).await? {
            confirmed.push(labelled);
        }
    }
    if confirmed.is_empty() {
        let possible = list(driver, lists, "maybe")?;
        confirmed = confirm(driver, target, possible.elements).await?;
    }
    Ok(Found::of(confirmed))
}

/// Keeps what the browser itself computes the wanted name and role for.
async fn confirm(
    driver: &WebDriver,
    target: &Target,
    candidates: Vec<WebElement>,
) -> Result<Vec<WebElement>, BrowserError> {
    let name = target.label.as_deref().or(target.name.as_deref()).map(script::normalised);
    let mut confirmed = Vec::new();
    for element in candidates.into_iter().take(CONFIRM_MAX) {
        let named = match &name {
            Some(name) => script::computed_label(driver, &element).await? == *name,
            None => true,
        };
        if named && role_fits(driver, target, &element).await? {
            confirmed.push(element);
        }
    }
    Ok(confirmed)
}

/// The text tier with a role: the driver has the last word on the role.
async fn confirm_role_of_text(driver: &WebDriver, target: &Target, text: Found) -> Result<Found, BrowserError> {
    if target.role.is_none() {
        return Ok(text);
    }
    let mut confirmed = Vec::new();
    for element in text.elements.into_iter().take(CONFIRM_MAX) {
        if role_fits(driver, target, &element).await? {
            confirmed.push(element);
        }
    }
    Ok(Found::of(confirmed))
}

async fn role_fits(driver: &WebDriver, target: &Target, element: &WebElement) -> Result<bool, BrowserError> {
    let Some(role) = target.role.as_deref() else {
        return Ok(true);
    };
    let wanted = if role == "image" { "img" } else { role };
    Ok(script::computed_role(driver, element).await? == wanted)
}

fn list(driver: &WebDriver, lists: &Value, key: &str) -> Result<Found, BrowserError> {
    let Some(list) = lists.get(key).filter(|list| !list.is_null()) else {
        return Ok(Found::default());
    };
    let count = list.get("count").and_then(Value::as_u64).unwrap_or(0);
    let elements = list.get("elements").and_then(Value::as_array);
    let elements = elements
        .into_iter()
        .flatten()
        .map(|element| WebElement::from_json(element.clone(), driver.handle().clone()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Found { count: usize::try_from(count).unwrap_or(usize::MAX), elements })
}

fn unusable(target: &Target, why: &str) -> BrowserError {
    BrowserError::Unusable { what: target.to_string(), why: why.to_owned() }
}
