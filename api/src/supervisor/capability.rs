//! What a worker may ask of a new browser, and what the supervisor decides about it. Pure.

use serde_json::{Map, Value, json};

use super::sandbox::Browser;

const CHROME: &str = "goog:chromeOptions";

/// The options a worker may set. Not among them: another binary, another session's debugger address.
const OPTIONS: [&str; 4] = ["args", "prefs", "mobileEmulation", "excludeSwitches"];

/// Flags that are not a worker's to set.
const KEPT_BACK: [&str; 5] =
    ["--no-sandbox", "--disable-setuid-sandbox", "--user-data-dir", "--remote-debugging", "--load-extension"];

/// The body of `POST /session` with our binary and our decision about the sandbox.
pub(super) fn prepare(body: &[u8], browser: &Browser) -> Result<Value, &'static str> {
    let asked: Value = serde_json::from_slice(body).map_err(|_| "the body is not JSON")?;
    let capabilities = asked.get("capabilities").and_then(Value::as_object).ok_or("no capabilities")?;
    let mut always = object(capabilities.get("alwaysMatch"))?;
    let first = capabilities.get("firstMatch").cloned().unwrap_or_else(|| json!([{}]));
    let alternatives = first.as_array().ok_or("firstMatch is not a list")?;
    if alternatives.iter().any(|alternative| alternative.get(CHROME).is_some()) {
        return Err("goog:chromeOptions belongs into alwaysMatch");
    }
    let asked = object(always.get(CHROME))?;
    let mut options: Map<String, Value> =
        asked.into_iter().filter(|(key, _)| OPTIONS.contains(&key.as_str())).collect();
    let mut flags = flags(options.get("args"));
    if !browser.sandboxed {
        flags.push(json!("--no-sandbox"));
    }
    options.insert("args".to_owned(), Value::Array(flags));
    options.insert("binary".to_owned(), json!(browser.program));
    always.insert(CHROME.to_owned(), Value::Object(options));
    Ok(json!({ "capabilities": { "alwaysMatch": always, "firstMatch": first } }))
}

fn object(value: Option<&Value>) -> Result<Map<String, Value>, &'static str> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map.clone()),
        Some(_) => Err("a part of the capabilities is not an object"),
    }
}

/// The flags that a worker may set. Chromium reads `-flag` and `--flag` alike, and chromedriver a bare name too.
fn flags(args: Option<&Value>) -> Vec<Value> {
    let allowed = |flag: &&Value| {
        let name = flag.as_str().unwrap_or_default().trim_start_matches('-').to_ascii_lowercase();
        !KEPT_BACK.iter().any(|kept| name.starts_with(kept.trim_start_matches('-')))
    };
    args.and_then(Value::as_array).into_iter().flatten().filter(|it| it.is_string()).filter(allowed).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn browser(sandboxed: bool) -> Browser {
        Browser { program: "/usr/bin/chromium".into(), sandboxed }
    }

    fn asked(options: &Value) -> Vec<u8> {
        json!({"capabilities": {"alwaysMatch": {CHROME: options}}}).to_string().into_bytes()
    }

    #[test]
    fn the_supervisor_alone_decides_about_binary_and_sandbox() {
        let body = asked(&json!({"binary": "/bin/sh", "debuggerAddress": "127.0.0.1:1",
            "args": ["--headless=new", "no-sandbox", "-user-data-dir=/x"]}));
        let prepared = prepare(&body, &browser(true)).unwrap();
        let options = &prepared["capabilities"]["alwaysMatch"][CHROME];
        assert_eq!(*options, json!({"args": ["--headless=new"], "binary": "/usr/bin/chromium"}));
    }

    #[test]
    fn without_a_working_sandbox_chromium_is_told_so() {
        let prepared = prepare(&asked(&json!({})), &browser(false)).unwrap();
        let args = &prepared["capabilities"]["alwaysMatch"][CHROME]["args"];
        assert_eq!(*args, json!(["--no-sandbox"]));
    }
}
