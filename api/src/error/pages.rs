//! A page for every code that anybody may meet: exit codes of the program, problems of the API,
//! failures of runs. `fermata explain` and `/problems` both read it here.
//!
//! To add a code, add its page to the group that it belongs to; the tests below find codes without.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Kind;

/// What a code means and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    /// The word for programs.
    pub(crate) code: &'static str,
    /// What it says.
    pub(crate) meaning: &'static str,
    /// What to do.
    pub(crate) remedy: &'static str,
}

/// Pages of one kind.
#[derive(Debug)]
pub(crate) struct Group {
    /// What they are about.
    pub(crate) title: &'static str,
    /// Them.
    pub(crate) pages: &'static [Page],
}

/// A page, as sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProblemPage")]
pub(crate) struct PageView {
    /// The word for programs: `code` of a problem.
    pub code: String,
    /// The title of problems of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The HTTP status of problems of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What it says.
    pub meaning: String,
    /// What to do.
    pub r#try: String,
}

impl Page {
    /// The type of problem that it explains, if it is one.
    pub(crate) fn kind(&self) -> Option<Kind> {
        Kind::ALL.iter().find(|kind| kind.code() == self.code).copied()
    }

    /// The page as sent.
    pub(crate) fn view(&self) -> PageView {
        let kind = self.kind();
        PageView {
            code: self.code.to_owned(),
            title: kind.map(|kind| kind.title().to_owned()),
            status: kind.map(|kind| kind.status().as_u16()),
            meaning: self.meaning.to_owned(),
            r#try: self.remedy.to_owned(),
        }
    }
}

/// Every page.
pub(crate) fn pages() -> impl Iterator<Item = &'static Page> {
    GROUPS.iter().flat_map(|group| group.pages)
}

/// The page of a code, or of a type URI, which ends in the same word with dashes.
pub(crate) fn page_of(code: &str) -> Option<&'static Page> {
    let word = code.rsplit('/').next().unwrap_or(code).replace('-', "_");
    pages().find(|page| page.code == word)
}

const fn page(code: &'static str, meaning: &'static str, remedy: &'static str) -> Page {
    Page { code, meaning, remedy }
}

/// All pages, in the order of a reader who looks for one.
pub(crate) static GROUPS: &[Group] = &[
    Group { title: "Types of problems", pages: TYPES },
    Group { title: "Finer words of problems and of the program", pages: WORDS },
    Group { title: "GraphQL's own words", pages: GRAPHQL },
    Group { title: "Why runs fail", pages: FAILURES },
    Group { title: "Exit codes of the program", pages: EXITS },
];

/// Types of problems that the API answers.
#[rustfmt::skip]
static TYPES: &[Page] = &[
    page("validation", "The request does not fit; `errors` names each place.", "Correct it; `/openapi.json` and `/v1/schemas` hold the shapes."),
    page("unauthorized", "There was no token, or none that is known.", "Send `Authorization: Bearer TOKEN`."),
    page("forbidden", "The token is known, but does not allow this.", "Use a token with the scope that the answer names."),
    page("not_found", "There is no such thing for this client.", "Check the id and the client of the token."),
    page("method_not_allowed", "The route does not have this method.", "`/openapi.json` lists what each route has."),
    page("conflict", "The state of the thing does not allow this.", "Read it again: it may have ended or been decided."),
    page("idempotency_mismatch", "The idempotency key was used for another request; `command_id` names it.", "Use a new key for a new request, or send exactly the old one."),
    page("cursor_expired", "The cursor is older than what is kept.", "Go on from `oldest_cursor`; what lies between can be read from the commands."),
    page("payload_too_large", "The request is larger than MAX_BODY_BYTES.", "Send less, or raise MAX_BODY_BYTES."),
    page("unsupported_media_type", "The body is in a form that is not read here.", "Send JSON with `Content-Type: application/json`, uncompressed and in UTF-8."),
    page("range_not_satisfiable", "The content does not have that range.", "Ask for its size first."),
    page("rate_limited", "The token sent more requests than RATE_LIMIT_PER_MINUTE and RATE_LIMIT_BURST allow; this one was not carried out.", "Come again after `retry_after_s`; the `RateLimit` header says what is left before it is too late."),
    page("not_ready", "Something that the service needs is not there.", "Come again after `retry_after_s`; GET /ready names what is missing."),
    page("timeout", "The answer took longer than REQUEST_TIMEOUT_SECS.", "Narrow the question, or ask again."),
    page("provider_unavailable", "A service on which the answer depends cannot be reached, or failed.", "Ask again later; `detail` says what it answered and whether anything was done."),
    page("provider_timeout", "A service on which the answer depends did not answer in time.", "Ask again if you only wanted to read; otherwise look there first, as `detail` says."),
    page("internal", "A fault on our side.", "The log has it under the request id; please report it."),
];

/// Finer words.
#[rustfmt::skip]
static WORDS: &[Page] = &[
    page("token_malformed", "The token is mistyped or cut short.", "Copy it again, whole."),
    page("token_unknown", "The token is not known, or was revoked.", "Ask for a new one: `fermata token create`."),
    page("token_expired", "The token's time is over.", "Ask for a new one; `--ttl` says how long it lives."),
    page("scope_missing", "The token lacks the scope that the answer names.", "Use another token, or make one with that scope."),
    page("command_type_not_allowed", "The token may submit other command types only.", "Use another token."),
    page("client_not_allowed", "The token acts for another client.", "Leave `client_id` out, or use that client's token."),
    page("account_unregistered", "Nobody has connected the account that the command is for, and its policy demands to know who it is.", "Connect it: `PUT /v1/platform-accounts/{platform}/{account}`."),
    page("unknown_type", "No workflow of that type is installed.", "`known` lists what is; a worker of a newer version may be missing."),
    page("unknown_workflow", "No workflow of that name is installed.", "GET /v1/schemas lists what is."),
    page("database_unreachable", "No connection to the database could be had; nothing was begun.", "Check that Postgres runs, that DATABASE_URL names it, and that DB_MAX_CONNECTIONS is enough for what is asked at once."),
    page("database_lost", "The connection to the database broke while it answered.", "Ask again. A change is answered with commit_unknown instead."),
    page("schema_outdated", "The schema of the database is not the one of this program.", "Run `fermata migrate` with the newest program."),
    page("unsafe_durability", "A setting of the server would lose acknowledged work.", "Turn fsync, full_page_writes and synchronous_commit on, or accept the loss with ALLOW_UNSAFE_DURABILITY=true."),
    page("config_invalid", "The configuration is not valid.", "`fermata config check` lists all problems at once."),
    page("browser_missing", "Browsers cannot be started.", "Install chromium and chromium-driver, or name an endpoint in FERMATA_WEBDRIVER_URL."),
    page("address_in_use", "Something else listens on that address.", "Stop it, or choose another address; port 0 takes a free one."),
    page("backup_failed", "The schema was not changed, because the backup before it could not be made.", "Mend what the message names, or name another file with `fermata migrate --backup FILE`; with a backup of your own, `--no-backup`."),
    page("unreachable", "The API does not answer.", "Check its address, and that it runs."),
    page("busy", "The node has more work, or more requests under way, than it can take.", "Come again after `retry_after_s`, raise MAX_IN_FLIGHT, or start more nodes."),
    page("cursor_foreign", "The cursor belongs to another history of the database: it came back from a backup, or a standby took over.", "Read the state again, and begin with a new cursor."),
    page("slow_reader", "The client read too slowly, and what comes next is no longer held for it.", "Subscribe again after the last cursor; a narrower filter leaves less to read."),
    page("slow_consumer", "The client read too slowly, and what comes next is no longer held for it.", "Go on from `resume_cursor`; a narrower filter leaves less to read."),
    page("subscription_exists", "The connection has a subscription of that name.", "Unsubscribe it first, or use another name."),
    page("too_many_subscriptions", "The connection has as many subscriptions as it may.", "Open another connection, or widen a filter."),
    page("too_many_streams", "The node holds as many streams as it may (MAX_STREAMS).", "Come again after `retry_after_s`, connect to another node, or raise MAX_STREAMS."),
    page("not_a_websocket", "The route is a WebSocket, and the request is none.", "Connect with a WebSocket client; `/asyncapi.json` describes the protocol."),
    page("origin_not_allowed", "The page that asks is of another site.", "Add its origin to ALLOWED_ORIGINS if it should be able to."),
    page("no_token", "Tickets are bought with a token.", "Send `Authorization: Bearer TOKEN`."),
    page("stopping", "The node is shutting down.", "Send the request again; another node answers."),
    page("command_ended", "The command has ended already.", "Submit a new one."),
    page("not_waiting", "The command does not wait for a takeover.", "`fermata gates list --command ID` shows what it waits for."),
    page("version_moved", "Somebody else put another version of the policy in force meanwhile.", "Read it again, put your change on top of it, and send it with that version."),
    page("gate_decided", "Somebody decided the gate before; the first decision holds.", "`gate` in the answer shows it."),
    page("not_repeatable", "An answer said that an action is to be done again, and it is not the newest of its intent, or is not over.", "GET /v1/commands/{id}/actions has the newest one; answer its gate."),
    page("gate_expired", "The gate's time ran out before a decision.", "Submit the command again."),
    page("cursor_invalid", "That is no cursor of this stream.", "Use the `cursor` of an event, unchanged."),
    page("malformed_json", "The body is not JSON; `at` says where it stops being so.", "Send JSON in UTF-8; with curl, `-d @file.json` or `--json @file.json`."),
    page("nul", "A text holds a NUL character, which the database cannot keep.", "Leave it out; `errors` names the place."),
    page("token_missing", "No token was sent.", "Send `Authorization: Bearer TOKEN`, or `X-API-Key: TOKEN`."),
    page("scheme_unknown", "The Authorization header is not a bearer token.", "Send `Authorization: Bearer TOKEN`."),
    page("two_credentials", "More than one credential was sent, and we do not guess which one is meant.", "Send one of `Authorization: Bearer TOKEN`, `X-API-Key: TOKEN` and `X-Internal-Key: KEY`, and send it once."),
    page("internal_key_unknown", "The key in X-Internal-Key is not the one of this installation, or this process was given none.", "Start the caller and this process with the same INTERNAL_KEY."),
    page("provider_token_refused", "The provider refuses the token that this installation has there; the caller's own is good.", "Give this process a token that is good there (for Render, RENDER_API_TOKEN)."),
    page("provider_rate_limited", "The provider takes no more requests with the token of this installation for now; nothing was done.", "Come again after `retry_after_s`."),
    page("provider_answer_unusable", "What answers in the provider's place does not speak as its API does.", "Check its address (for Render, RENDER_API_BASE_URL); the log says what came."),
    page("commit_unknown", "The database or the answer went away while a change was under way: nobody can tell whether it was carried out.", "Send exactly the same request again with the same idempotency key (a signal: the same signal_id); it is carried out once. Without a key, look first: `fermata runs list`."),
];

/// What only GraphQL refuses; everything else it answers with the words above.
#[rustfmt::skip]
static GRAPHQL: &[Page] = &[
    page("graphql_request", "The request is no GraphQL request.", "Send JSON with `query` (or `documentId`) and, where they are needed, `variables` as an object."),
    page("graphql_syntax", "The document cannot be read.", "Correct it at the place that `locations` names."),
    page("graphql_validation", "The document does not fit the schema.", "Ask for fields and types that are there; the published SDL or introspection lists them."),
    page("graphql_argument", "An argument does not fit its type.", "Correct it at the place that `locations` names."),
    page("graphql_queries_only", "This way in answers queries only.", "Send a mutation with POST, and a subscription over `/graphql/ws`."),
    page("graphql_batch", "Several operations came in one request, and batches are not read.", "Send one operation per request."),
    page("graphql_document_too_large", "The document has more bytes than are read.", "Ask for less, or in several requests; large values belong in `variables`."),
    page("graphql_variables_too_large", "The variables have more bytes than are read.", "Send less; keep large content as an artifact."),
    page("graphql_too_deep", "The document is nested deeper than is answered.", "Ask for inner things by their id in a request of their own."),
    page("graphql_too_complex", "The query may touch more than one request may.", "Ask for fewer fields or shorter lists: `first` counts."),
    page("graphql_too_many_root_fields", "The query asks for more things at once than are answered.", "Split it into several requests."),
    page("graphql_too_many_aliases", "The query has more aliases than are answered.", "Split it into several requests."),
    page("graphql_too_many_directives", "The query has more directives than are answered.", "Leave some out; more than a few in one place mean nothing."),
    page("graphql_too_many_fields", "The query has more fields, with its fragments written out, than are answered.", "Split it into several requests."),
    page("graphql_too_many_operations", "The connection has as many operations under way as it may.", "Complete one before the next, or open another connection."),
    page("persisted_query_mismatch", "The id is not the SHA-256 of the document.", "Hash exactly the text that is sent."),
    page("persisted_query_only", "This installation answers persisted documents only.", "Ask by the id of a document that is listed in `graphql/documents`."),
    page("persisted_query_not_found", "No persisted document has that id.", "Send the whole text as `query`."),
];

/// Why runs fail.
#[rustfmt::skip]
static FAILURES: &[Page] = &[
    page("outcome_unknown", "An effect was attempted, and nobody can prove whether it happened. It is not tried again by itself.", "Look at the platform, then decide the gate: approved means that it happened."),
    page("kill_switch", "A kill switch stopped the effect; it did not happen.", "Release the switch and submit again."),
    page("effect_denied", "The policy does not allow this effect; it did not happen.", "Change the policy, or the command."),
    page("effect_absent", "The effect provably did not happen.", "Submit again, or see the action's error."),
    page("rejected", "A person said no.", "The gate has the comment."),
    page("cancelled", "The command was cancelled.", "Nothing; the action list shows what had happened before."),
    page("deadline_exceeded", "The command did not end by its deadline.", "Give it more time, or see where it waited."),
    page("definition_changed", "The workflow changed under a run that had begun, and the run cannot be replayed.", "Decide at its gate; finish it with the old version, or submit anew."),
    page("call_timeout", "The platform did not answer in time.", "What happened is found out by looking; `fermata runs show ID`."),
    page("call_too_late", "The time of a call, or the lease of its node, had run out before the call began: the commit before it took too long. Nothing was sent.", "The step is tried again as its retry policy says; give the call more time, or see why the database is slow."),
    page("input_invalid", "The input does not fit the workflow.", "GET /v1/schemas/command/TYPE has its schema."),
    page("child_failed", "A command that this one started failed.", "See the child's error."),
    page("output_not_json", "What the workflow or a step returned cannot be written as JSON.", "Mend the workflow: numbers must be finite and map keys must be text."),
    page("output_unstorable", "What the workflow or a step returned cannot be kept: it is too large, too deep, or holds a NUL character.", "Return less; keep large content as an artifact."),
    page("artifact_not_kept", "A file could not be kept as an artifact.", "Check the folder of FERMATA_ARTIFACTS_DIR: space and rights."),
    page("record_unreadable", "What an earlier version kept of this run cannot be read by this one.", "Finish the run with the version that began it, or submit anew."),
    page("empty_race", "A race without branches was begun.", "Mend the workflow: a race needs at least one branch."),
    page("account_auth", "The platform does not take the account's login; after the third time in a row the account is read_only.", "Mend the login, then `PUT /v1/platform-accounts/{platform}/{account}/mode` with `normal`."),
    page("account_challenge", "The platform wants a person to prove something; the account is read_only.", "Look into it there, then put the account back to `normal`."),
    page("account_layout", "The platform looks another way than it did; the account is read_only.", "Mend the flow, then put the account back to `normal`."),
    page("identity_mismatch", "The platform says that it would act as another account than the one that was connected; nothing was done, and the account is read_only.", "See which login the account has. `PUT /v1/platform-accounts/{platform}/{account}` connects it anew; then put it back to `normal`."),
    page("identity_unread", "The platform does not say as whom it would act, so nothing was done.", "Mend the flow's `identity`: what it saves as `id` was not in the answer."),
    page("content_unchecked", "A classifier of content gave no answer, so nothing was done.", "See that the program at its address in CLASSIFIERS answers 200 with `{\"flags\": [...]}` within 10 s; the step is tried again as its retry policy says."),
    page("policy_blocked", "The policy does not allow this effect, or a person said no; it did not happen. `details` names the rule.", "Change the command, or the policy: `PUT /v1/policies/{scope}`; `POST /v1/policies/evaluate` says what would happen."),
    page("policy_unread", "The policy could not be read, so nothing was done.", "Check the database; the step is tried again as its retry policy says."),
    page("kill_switch_unread", "The kill switches could not be read right before the call, so nothing was done.", "Check the database; the step is tried again as its retry policy says."),
    page("step_timeout", "A step took longer than its limit.", "Give it more time, or see in its log what it waited for."),
    page("host_not_allowed", "The flow calls a host on a private or loopback address that is not on the list.", "Add the host to ALLOW_PRIVATE_HOSTS when it is meant."),
    page("request_invalid", "The flow describes a request that cannot be sent.", "Correct its method, address, headers or body; the message names which."),
    page("max_duration_exceeded", "The flow took longer than its own `max_duration` allows.", "Give it more time, or split it."),
    page("poll_timeout", "What a step waits for did not come within the time that its poll gives it.", "Look at the platform: it may still come. Submit again with a longer `timeout_s`, or correct the flow's `until`."),
    page("download_failed", "The page could not fetch a file: the connection broke, it took too long, or the page's own policy or the other site forbids it.", "Try again, or give the act a longer `timeout_s`; a file on another site needs that site's leave (CORS)."),
    page("download_refused", "The platform answered with an error instead of the file.", "The message has the status; see whether the account may have the file, and that the flow waits until it is there."),
    page("download_too_large", "The file behind a link is larger than a page downloads.", "Fetch it by other means; nothing of it was kept."),
    page("browser_unavailable", "No browser could be had for the run.", "Check that a process with the browser role runs, or FERMATA_WEBDRIVER_URL; `fermata doctor` looks closer."),
];

/// Exit codes of this program.
#[rustfmt::skip]
static EXITS: &[Page] = &[
    page("0", "The command did what it was asked.", "Nothing is to be done."),
    page("1", "The command failed, or the run that was watched failed or was cancelled.", "Read the line that says why; `fermata runs show ID` has the run's error."),
    page("2", "The command line does not fit.", "Every command has --help with examples."),
    page("3", "There is no such thing, or not for this token's client.", "Check the id; `fermata runs list` and `fermata gates list` show what there is."),
    page("4", "No token was given, or it is not known, or it does not allow this.", "`fermata token list` shows tokens and scopes; `fermata token create` makes one."),
    page("5", "The state of the thing does not allow this, or somebody else was first.", "Read the thing again and decide anew."),
    page("6", "Nobody answered, or not in time.", "Check that the API or the database runs; `fermata doctor` looks closer. Asking again is safe with an idempotency key."),
    page("7", "A policy, a budget or a kill switch said no; nothing was done outside.", "Change the policy, wait for the budget's window, or release the switch."),
    page("8", "Nobody can tell whether the effect happened, so nothing that depends on it was started.", "Look at the platform, then decide the open gate: `fermata gates list`."),
    page("9", "The run waits for a person.", "`fermata gates list`, then `fermata gates approve ID` or `reject ID`."),
    page("10", "The configuration is not valid.", "`fermata config check` lists all problems at once, each with its remedy."),
    page("130", "A signal ended the program.", "Nothing that was acknowledged is lost; start it again."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::process::Exit;

    /// The product's own code, without its tests.
    fn code_under(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                code_under(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
                found.push((path, code));
            }
        }
    }

    #[test]
    fn every_exit_code_and_every_type_of_problem_has_one_page() {
        let codes: BTreeSet<&str> = pages().map(|page| page.code).collect();
        assert_eq!(codes.len(), pages().count(), "no code has two pages");
        for exit in Exit::ALL {
            assert!(page_of(&exit.code().to_string()).is_some(), "{exit:?}");
        }
        for kind in Kind::ALL {
            assert_eq!(page_of(kind.slug()).and_then(Page::kind), Some(*kind));
        }
    }

    #[test]
    fn every_code_that_is_written_anywhere_has_a_page() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut sources = Vec::new();
        for room in ["api/src", "engine/src", "graphql/src", "workflows/src"] {
            code_under(&root.join(room), &mut sources);
        }
        let mut seen = 0;
        let written = |code: &str, before: &str| -> Vec<String> {
            let words = code.split(before).skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
            words.map(str::to_owned).collect()
        };
        for (path, code) in sources {
            for word in written(&code, "\"graphql_").iter().filter(|_| path.starts_with(root.join("graphql"))) {
                assert!(page_of(&format!("graphql_{word}")).is_some(), "no page explains `graphql_{word}`");
            }
            for before in [
                "with_code(\"",
                ".code(\"",
                "Limit::new(\"",
                "Limit::exceeded(\"",
                "Failure::new(\"",
                "StepError::fail(\"",
                "StepError::retry(\"",
            ] {
                for word in written(&code, before) {
                    assert!(page_of(&word).is_some(), "no page explains `{word}` of {}", path.display());
                    seen += 1;
                }
            }
        }
        assert!(seen > 40, "the codes are found: {seen}");
    }
}
