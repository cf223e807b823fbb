//! Rules about one step.

use fermata_engine::effect::Lane;
use fermata_engine::workflow::RetryPolicy;
use serde_json::Value;

use super::is_word;
use crate::flow::document::{
    Action, BrowserAct, BrowserLook, BrowserStep, Call, ChildStep, EffectStep, FlowDocument, HttpCall, HttpLook,
    LookFor, Poll, Step,
};
use crate::flow::finding::{Finding, below};
use crate::flow::limits::{MAX_ACTS, MAX_LOOKS, MAX_TIMEOUT_S, MAX_VISIBLE_WITHIN_S, MAX_WAIT_S};

/// Headers that belong to the carrier of a request.
const OWN_HEADERS: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "connection", "fermata-fence", "fermata-deadline"];

/// Judges one step.
pub(super) fn step(document: &FlowDocument, step: &Step, pointer: &str, findings: &mut Vec<Finding>) {
    let mut rules = Rules { findings };
    rules.attempts(step, pointer);
    rules.lane(document.lane, step, pointer);
    let pointer = below(pointer, step.action.name());
    match &step.action {
        Action::Http(call) => {
            rules.reading(call, &pointer);
            rules.repeating(call, &pointer);
            rules.request(call, &pointer);
        }
        Action::Browser(browser) => rules.browser(browser, &pointer),
        Action::Effect(effect) => rules.effect(effect, &pointer),
        Action::Human(human) => {
            let longest = human.expires_in_s.as_ref().map(|time| (time.written(), MAX_WAIT_S));
            rules.seconds(longest, &below(&pointer, "expires_in_s"));
        }
        Action::Sleep(sleep) => {
            rules.seconds(Some((sleep.seconds.written(), MAX_WAIT_S)), &below(&pointer, "seconds"));
        }
        Action::WaitSignal(signal) => {
            if !is_word(&signal.name) {
                rules.error(&below(&pointer, "name"), "this is not a name for a signal", "write one lower-case word");
            }
        }
        Action::Set(_) => {}
        Action::Child(child) => rules.child(child, &pointer),
    }
}

struct Rules<'f> {
    findings: &'f mut Vec<Finding>,
}

impl Rules<'_> {
    fn error(&mut self, pointer: &str, message: &str, remedy: &str) {
        self.findings.push(Finding::error(pointer, message, remedy));
    }

    fn seconds(&mut self, given: Option<(&Value, f64)>, pointer: &str) {
        let Some((value, most)) = given else { return };
        if value.as_f64().is_some_and(|seconds| !(0.0..=most).contains(&seconds)) {
            self.error(pointer, "this time is out of bounds", &format!("write 0 to {most} seconds"));
        }
    }

    fn attempts(&mut self, step: &Step, pointer: &str) {
        let is_tried = matches!(step.action, Action::Http(_) | Action::Browser(_));
        if let Some(time) = step.timeout_s {
            self.seconds(Some((&Value::from(time.0), MAX_TIMEOUT_S)), &below(pointer, "timeout_s"));
        }
        if !is_tried && (step.retry.is_some() || step.timeout_s.is_some()) {
            let message = "only http and browser steps are tried again by the flow";
            let remedy = "remove `retry` and `timeout_s`; an effect has `call_timeout_s`";
            self.error(pointer, message, remedy);
        }
        let attempts = step.retry.as_ref().map(|retry| retry.max_attempts);
        if attempts.is_some_and(|attempts| !(1..=RetryPolicy::MAX_ATTEMPTS).contains(&attempts)) {
            let remedy = format!("write 1 to {}", RetryPolicy::MAX_ATTEMPTS);
            self.error(&format!("{pointer}/retry/max_attempts"), "out of bounds", &remedy);
        }
    }

    fn lane(&mut self, lane: Lane, step: &Step, pointer: &str) {
        let (http, browser) = match &step.action {
            Action::Http(_) => (true, false),
            Action::Browser(_) => (false, true),
            Action::Effect(effect) => {
                let by_http = matches!(effect.call, Call::Http(_)) || matches!(effect.look, Some(LookFor::Http(_)));
                let by_page =
                    matches!(effect.call, Call::Browser(_)) || matches!(effect.look, Some(LookFor::Browser(_)));
                (by_http, by_page)
            }
            _ => (false, false),
        };
        let stray = match lane {
            Lane::Api => browser,
            Lane::Browser => http,
            Lane::Hybrid => false,
        };
        if stray {
            let message = format!("the flow's lane is `{}`, and this step uses another", lane.as_str());
            self.error(pointer, &message, "write `lane: hybrid`");
        }
    }

    fn reading(&mut self, call: &HttpCall, pointer: &str) {
        if !call.method.is_read() && !call.safe {
            let message = "this request may change something, and a step may be done twice";
            let remedy = "make it an `effect`; write `safe: true` only if repeating it changes nothing that counts";
            self.error(&below(pointer, "method"), message, remedy);
        }
    }

    fn repeating(&mut self, call: &HttpCall, pointer: &str) {
        if !call.record && !call.method.is_read() && !call.safe {
            let message = "a step that is not recorded is done again whenever its run is taken up again";
            self.error(&below(pointer, "record"), message, "remove `record`, or see what the method needs");
        }
    }

    fn recorded(&mut self, call: &HttpCall, pointer: &str) {
        if !call.record {
            let remedy = "remove it; only an http step can be used without being recorded";
            self.error(&below(pointer, "record"), "what an effect finds or makes is always recorded", remedy);
        }
    }

    fn request(&mut self, call: &HttpCall, pointer: &str) {
        let bodies = [call.json.is_some(), call.form.is_some(), call.body.is_some()];
        if bodies.into_iter().filter(|given| *given).count() > 1 {
            self.error(pointer, "the request has several bodies", "give one of json, form and body");
        }
        if call.method.is_read() && bodies.contains(&true) {
            self.error(pointer, "GET and HEAD have no body", "use `query`, or another method");
        }
        for name in call.headers.keys() {
            let lower = name.to_ascii_lowercase();
            if http::HeaderName::try_from(lower.as_str()).is_err() || OWN_HEADERS.contains(&lower.as_str()) {
                let pointer = below(&below(pointer, "headers"), name);
                self.error(&pointer, "this header cannot be given here", "remove it, or correct its name");
            }
        }
        for (name, at) in &call.save {
            self.pointer(at, &below(&below(pointer, "save"), name));
        }
        for (n, assertion) in call.expect.iter().flat_map(|expect| &expect.body).enumerate() {
            self.pointer(&assertion.at, &format!("{pointer}/expect/body/{n}/at"));
        }
        if let Some(time) = call.timeout_s {
            self.seconds(Some((&Value::from(time.0), MAX_TIMEOUT_S)), &below(pointer, "timeout_s"));
        }
        let bad_status = call.expect.iter().flat_map(|expect| &expect.status).any(|status| !is_status(*status));
        if bad_status {
            self.error(&below(pointer, "expect"), "a status is out of bounds", "write 100 to 599");
        }
    }

    fn pointer(&mut self, at: &str, pointer: &str) {
        if !(at.is_empty() || at.starts_with('/')) {
            self.error(pointer, "this is no JSON Pointer", "write it as `/a/0/b`, or empty for the whole body");
        }
    }

    fn acts(&mut self, acts: &[BrowserAct], pointer: &str) {
        if acts.len() > MAX_ACTS {
            self.error(pointer, "too many acts", &format!("split it; {MAX_ACTS} is the most"));
        }
        for (n, act) in acts.iter().enumerate() {
            let pointer = below(pointer, &n.to_string());
            if act.saves().is_some_and(|name| !is_word(name)) {
                self.error(&pointer, "this is not a name to keep something under", "write one lower-case word");
            }
            let time = match act {
                BrowserAct::Wait(wait) => wait.timeout_s,
                BrowserAct::Download(download) => download.timeout_s,
                _ => None,
            };
            let time = time.map(|time| Value::from(time.0));
            self.seconds(time.as_ref().map(|time| (time, MAX_TIMEOUT_S)), &pointer);
        }
    }

    fn poll(&mut self, poll: &Poll, pointer: &str) {
        let acts = below(pointer, "do");
        self.acts(&poll.acts, &acts);
        for (n, act) in poll.acts.iter().enumerate() {
            if !matches!(act, BrowserAct::Goto(_) | BrowserAct::Wait(_) | BrowserAct::Assert(_)) {
                let remedy = "put it into the step's own `do`, which follows once the condition holds";
                self.error(&below(&acts, &n.to_string()), "a look only goes, waits and asserts", remedy);
            }
        }
        let (interval, timeout) = (poll.interval_s.written(), poll.timeout_s.written());
        self.seconds(Some((interval, MAX_WAIT_S)), &below(pointer, "interval_s"));
        self.seconds(Some((timeout, MAX_WAIT_S)), &below(pointer, "timeout_s"));
        if let (Some(interval), Some(timeout)) = (interval.as_f64(), timeout.as_f64())
            && timeout > interval * f64::from(MAX_LOOKS)
        {
            let remedy = format!("look less often: {MAX_LOOKS} looks are the most");
            self.error(&below(pointer, "interval_s"), "these are too many looks", &remedy);
        }
    }

    fn browser(&mut self, browser: &BrowserStep, pointer: &str) {
        self.acts(&browser.acts, &below(pointer, "do"));
        if let Some(poll) = &browser.poll {
            self.poll(poll, &below(pointer, "poll"));
            if browser.success.is_some() {
                let remedy = "remove `success`, and let another step do what has to be found done";
                self.error(&below(pointer, "success"), "a step that polls is done once its condition holds", remedy);
            }
        }
        let only_reads =
            browser.acts.iter().all(|act| act.is_read() || matches!(act, BrowserAct::Goto(_) | BrowserAct::Wait(_)));
        if browser.success.is_none() && !only_reads {
            let message = "nobody could tell whether this step is done";
            let remedy = "add `success`: what the page shows once it is done; it is looked at before acting too";
            self.error(pointer, message, remedy);
        }
        if browser.acts.is_empty() && browser.poll.is_none() {
            self.error(&below(pointer, "do"), "the step does nothing", "add an act such as `goto`");
        }
    }

    fn child(&mut self, child: &ChildStep, pointer: &str) {
        if child.flow.is_some() == child.workflow.is_some() {
            self.error(pointer, "it is not clear what is started", "give exactly one of `flow` and `workflow`");
        }
        if !(child.input.is_object() || child.input.is_null() || child.input.is_string()) {
            self.error(&below(pointer, "input"), "an input is an object", "write an object or one template");
        }
    }

    fn effect(&mut self, effect: &EffectStep, pointer: &str) {
        if let Err(unknown) = crate::words::known().check_action_type(&effect.action_type) {
            let remedy = "name one of them, so that the rules about it hold";
            self.error(&below(pointer, "action_type"), &unknown.to_string(), remedy);
        }
        let call_time = effect.call_timeout_s.as_ref().map(|time| (time.written(), MAX_TIMEOUT_S));
        self.seconds(call_time, &below(pointer, "call_timeout_s"));
        let visible = effect.visible_within_s.as_ref().map(|time| (time.written(), MAX_VISIBLE_WITHIN_S));
        self.seconds(visible, &below(pointer, "visible_within_s"));
        self.promises(effect, pointer);
        self.acts(&effect.prepare, &below(pointer, "prepare"));
        match &effect.call {
            Call::Http(call) => {
                let pointer = below(&below(pointer, "call"), "http");
                self.request(call, &pointer);
                self.recorded(call, &pointer);
                if call.method.is_read() {
                    let message = "GET and HEAD change nothing, so this is no effect";
                    self.error(&below(&pointer, "method"), message, "use an http step, or the right method");
                }
                if !effect.prepare.is_empty() {
                    self.error(&pointer, "there is no page to prepare", "remove `prepare`, or make the call a click");
                }
            }
            Call::Browser(_) if effect.identity.is_some() => {
                let message = "an API does not know who is signed in in the browser";
                self.error(&below(pointer, "identity"), message, "remove `identity`, or make the call by http");
            }
            Call::Browser(_) => {}
        }
        if let Some(identity) = &effect.identity {
            self.identity(identity, &below(pointer, "identity"));
        }
        match &effect.look {
            Some(LookFor::Http(look)) => {
                self.http_look(effect, look, &below(&below(pointer, "look"), "http"));
            }
            Some(LookFor::Browser(look)) => {
                self.browser_look(effect, look, &below(&below(pointer, "look"), "browser"));
            }
            None => {}
        }
        if let Some(surface) = &effect.surface {
            // Nothing follows from its silence.
            self.request_that_looks(surface, &below(pointer, "surface"));
        }
    }

    fn identity(&mut self, identity: &HttpCall, pointer: &str) {
        self.reading(identity, pointer);
        self.request(identity, pointer);
        self.recorded(identity, pointer);
        if !identity.save.contains_key("id") {
            let remedy = "save the platform's own id of the account, page or channel, which it never changes, as `id`";
            self.error(&below(pointer, "save"), "nothing says as whom the call would act", remedy);
        }
    }

    fn promises(&mut self, effect: &EffectStep, pointer: &str) {
        let claims_keys = effect.honours_keys.as_ref().is_some_and(|keys| *keys.written() != Value::Bool(false));
        let clicks = matches!(effect.call, Call::Browser(_));
        if claims_keys && clicks {
            let message = "a click carries no key that the platform could honour";
            self.error(&below(pointer, "honours_keys"), message, "remove `honours_keys`, or make the call by http");
        }
        if effect.look.is_some() {
            return;
        }
        if clicks {
            // S-022.
            let message =
                "nothing tells whether it was done before, and a click carries no key: it could be done twice";
            self.error(pointer, message, "add a `look`");
            return;
        }
        if may_conclude(effect) {
            let message = "without a look, silence proves nothing";
            self.error(&below(pointer, "absence"), message, "add a `look`, or remove `absence`");
        }
        if effect.look_first.as_ref().is_some_and(|first| *first.written() != Value::Bool(false)) {
            self.error(&below(pointer, "look_first"), "there is no look", "add a `look`, or remove `look_first`");
        }
        if !claims_keys {
            self.findings.push(Finding::warning(
                pointer,
                "if the answer of the call is lost, only a person can tell whether it was done",
                "add a `look`",
            ));
        }
    }

    fn http_look(&mut self, effect: &EffectStep, look: &HttpLook, pointer: &str) {
        self.request_that_looks(look, pointer);
        let is_proven = look.request.expect.as_ref().is_some_and(|expect| !expect.body.is_empty());
        if may_conclude(effect) && !is_proven {
            let message = "an answer of another shape would look like absence";
            let remedy = "add `expect.body`: what holds of the right answer whether or not the effect is there";
            self.error(&below(pointer, "request"), message, remedy);
        }
    }

    fn request_that_looks(&mut self, look: &HttpLook, pointer: &str) {
        let request = below(pointer, "request");
        self.reading(&look.request, &request);
        self.request(&look.request, &request);
        self.recorded(&look.request, &request);
        if look.present.is_empty() {
            let message = "nothing tells presence from absence";
            self.error(&below(pointer, "present"), message, "add what holds exactly when the effect is there");
        }
        for (n, assertion) in look.present.iter().enumerate() {
            self.pointer(&assertion.at, &format!("{pointer}/present/{n}/at"));
        }
    }

    fn browser_look(&mut self, effect: &EffectStep, look: &BrowserLook, pointer: &str) {
        self.acts(&look.acts, &below(pointer, "do"));
        if may_conclude(effect) && look.ready.is_none() {
            let message = "an error page would look like absence";
            self.error(pointer, message, "add `ready`: what the right page shows whether or not the effect is there");
        }
    }
}

/// Whether the look's silence is, or may turn out to be, a proof.
fn may_conclude(effect: &EffectStep) -> bool {
    effect.absence.as_ref().is_some_and(|absence| *absence.written() != "inconclusive")
}

fn is_status(status: u16) -> bool {
    (100..=599).contains(&status)
}
