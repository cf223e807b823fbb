//! `fermata explain`: a page for every exit code, problem code and failure code.

use clap::Args;
use serde_json::json;

use super::Output;
use crate::error::pages::{GROUPS, Page, PageView, page_of, pages};
use crate::process::{Exit, Trouble};

/// What is to be explained.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  fermata explain 8\n  fermata explain outcome_unknown\n  fermata explain       lists all"
)]
pub(crate) struct ExplainArgs {
    /// An exit code, a problem code, a problem's type or a failure code; all of them when left out
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

pub(super) fn run(args: &ExplainArgs, out: Output) -> Result<Exit, Trouble> {
    let Some(code) = &args.code else {
        let all: Vec<PageView> = pages().map(Page::view).collect();
        out.print(&json!({ "items": all }), || {
            let groups = GROUPS.iter().map(|group| {
                let lines = group.pages.iter().map(|page| format!("  {:<26} {}", page.code, page.meaning));
                format!("{}\n{}", group.title, lines.collect::<Vec<_>>().join("\n"))
            });
            groups.collect::<Vec<_>>().join("\n\n")
        });
        return Ok(Exit::Done);
    };
    let Some(page) = page_of(code) else {
        return Err(Trouble::new(Exit::NotFound, format!("no page explains `{code}`"))
            .remedy("`fermata explain` without a code lists all"));
    };
    out.print(&json!(page.view()), || format!("{}\n\n  {}\n\n  try: {}", page.code, page.meaning, page.remedy));
    Ok(Exit::Done)
}
