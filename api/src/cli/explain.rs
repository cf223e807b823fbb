//! `fermata explain`: a page for every exit code, problem code and failure code.

use clap::Args;
use serde_json::json;

use super::Output;
use crate::process::{Exit, Trouble};

/// What is to be explained.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  fermata explain 8\n  fermata explain outcome_unknown\n  fermata explain       lists all"
)]
pub(crate) struct ExplainArgs {
    /// An exit code, a problem code or a failure code; all of them when left out
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

/// What a code means and what to do.
struct Page {
    code: &'static str,
    meaning: &'static str,
    remedy: &'static str,
}

const fn page(code: &'static str, meaning: &'static str, remedy: &'static str) -> Page {
    Page { code, meaning, remedy }
}

#[rustfmt::skip]
static PAGES: &[Page] = &[
    // Exit codes of this program.
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
    // Kinds of problems that the API answers.
    page("validation", "The request does not fit; `errors` names each place.", "Correct it; `/openapi.json` and `/v1/schemas` hold the shapes."),
    page("unauthorized", "There was no token, or none that is known.", "Send `Authorization: Bearer TOKEN`."),
    page("forbidden", "The token is known, but does not allow this.", "Use a token with the scope that the answer names."),
    page("not_found", "There is no such thing for this client.", "Check the id and the client of the token."),
    page("method_not_allowed", "The route does not have this method.", "`/openapi.json` lists what each route has."),
    page("conflict", "The state of the thing does not allow this.", "Read it again: it may have ended or been decided."),
    page("idempotency_mismatch", "The idempotency key was used for another request; `command_id` names it.", "Use a new key for a new request, or send exactly the old one."),
    page("cursor_expired", "The cursor is older than what is kept.", "Go on from `oldest_cursor`; what lies between can be read from the commands."),
    page("payload_too_large", "The request is larger than MAX_BODY_BYTES.", "Send less, or raise MAX_BODY_BYTES."),
    page("unsupported_media_type", "The body is in a form that is not read here.", "Send `Content-Type: application/json`."),
    page("range_not_satisfiable", "The content does not have that range.", "Ask for its size first."),
    page("rate_limited", "Too much at once.", "Come again after `retry_after_s`."),
    page("not_ready", "Something that the service needs is not there.", "Come again after `retry_after_s`; GET /ready names what is missing."),
    page("timeout", "The answer took longer than REQUEST_TIMEOUT_SECS.", "Narrow the question, or ask again."),
    page("internal", "A fault on our side.", "The log has it under the request id; please report it."),
    // Finer words.
    page("token_malformed", "The token is mistyped or cut short.", "Copy it again, whole."),
    page("token_unknown", "The token is not known, or was revoked.", "Ask for a new one: `fermata token create`."),
    page("token_expired", "The token's time is over.", "Ask for a new one; `--ttl` says how long it lives."),
    page("scope_missing", "The token lacks the scope that the answer names.", "Use another token, or make one with that scope."),
    page("command_type_not_allowed", "The token may submit other command types only.", "Use another token."),
    page("client_not_allowed", "The token acts for another client.", "Leave `client_id` out, or use that client's token."),
    page("unknown_type", "No workflow of that type is installed.", "`known` lists what is; a worker of a newer version may be missing."),
    page("unknown_workflow", "No workflow of that name is installed.", "GET /v1/schemas lists what is."),
    page("database_unreachable", "The database cannot be reached.", "Check that Postgres runs and that DATABASE_URL names it."),
    page("schema_outdated", "The schema of the database is not the one of this program.", "Run `fermata migrate` with the newest program."),
    page("unsafe_durability", "A setting of the server would lose acknowledged work.", "Turn fsync, full_page_writes and synchronous_commit on, or accept the loss with ALLOW_UNSAFE_DURABILITY=true."),
    page("config_invalid", "The configuration is not valid.", "`fermata config check` lists all problems at once."),
    page("browser_missing", "Browsers cannot be started.", "Install chromium and chromium-driver, or name an endpoint in FERMATA_WEBDRIVER_URL."),
    page("address_in_use", "Something else listens on that address.", "Stop it, or choose another address; port 0 takes a free one."),
    page("unreachable", "The API does not answer.", "Check its address, and that it runs."),
    page("busy", "The node has more work than it can take.", "Come again in a moment, or start more nodes."),
    page("stopping", "The node is shutting down.", "Send the request again; another node answers."),
    page("command_ended", "The command has ended already.", "Submit a new one."),
    page("not_waiting", "The command does not wait for a takeover.", "`fermata gates list --command ID` shows what it waits for."),
    page("gate_decided", "Somebody decided the gate before; the first decision holds.", "`gate` in the answer shows it."),
    page("gate_expired", "The gate's time ran out before a decision.", "Submit the command again."),
    page("cursor_invalid", "That is no cursor of this stream.", "Use the `cursor` of an event, unchanged."),
    // Why runs fail.
    page("outcome_unknown", "An effect was attempted, and nobody can prove whether it happened. It is not tried again by itself.", "Look at the platform, then decide the gate: approved means that it happened."),
    page("kill_switch", "A kill switch stopped the effect; it did not happen.", "Release the switch and submit again."),
    page("effect_denied", "The policy does not allow this effect; it did not happen.", "Change the policy, or the command."),
    page("effect_absent", "The effect provably did not happen.", "Submit again, or see the action's error."),
    page("rejected", "A person said no.", "The gate has the comment."),
    page("cancelled", "The command was cancelled.", "Nothing; the action list shows what had happened before."),
    page("deadline_exceeded", "The command did not end by its deadline.", "Give it more time, or see where it waited."),
    page("definition_changed", "The workflow changed under a run that had begun, and the run cannot be replayed.", "Decide at its gate; finish it with the old version, or submit anew."),
    page("call_timeout", "The platform did not answer in time.", "What happened is found out by looking; `fermata runs show ID`."),
    page("input_invalid", "The input does not fit the workflow.", "GET /v1/schemas/commands/TYPE has its schema."),
    page("child_failed", "A command that this one started failed.", "See the child's error."),
];

pub(super) fn run(args: &ExplainArgs, out: Output) -> Result<Exit, Trouble> {
    let Some(code) = &args.code else {
        let all: Vec<_> = PAGES.iter().map(|page| json!({ "code": page.code, "meaning": page.meaning })).collect();
        let lines =
            || PAGES.iter().map(|page| format!("{:<26} {}", page.code, page.meaning)).collect::<Vec<_>>().join("\n");
        out.print(&json!({ "items": all }), lines);
        return Ok(Exit::Done);
    };
    // A problem's type URI ends in the same word with dashes.
    let word = code.rsplit('/').next().unwrap_or(code).replace('-', "_");
    let Some(page) = PAGES.iter().find(|page| page.code == word) else {
        return Err(Trouble::new(Exit::NotFound, format!("no page explains `{code}`"))
            .remedy("`fermata explain` without a code lists all"));
    };
    out.print(&json!({ "code": page.code, "meaning": page.meaning, "try": page.remedy }), || {
        format!("{}\n\n  {}\n\n  try: {}", page.code, page.meaning, page.remedy)
    });
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::error::Kind;

    #[test]
    fn every_exit_code_and_every_kind_of_problem_has_one_page() {
        let pages: BTreeSet<&str> = PAGES.iter().map(|page| page.code).collect();
        assert_eq!(pages.len(), PAGES.len(), "no code has two pages");
        for exit in Exit::ALL {
            assert!(pages.contains(exit.code().to_string().as_str()), "{exit:?}");
        }
        for kind in Kind::ALL {
            assert!(pages.contains(kind.slug().replace('-', "_").as_str()), "{kind:?}");
        }
    }
}
