//! The social network itself: what has happened so far, and who may see it.
//!
//! [`Site`] knows nothing of HTTP and nothing of misbehaviour. Effects come in as [`Request`]s
//! and are durable in the ledger before they are visible; views go out for the API and the pages
//! alike, so that what is hidden is hidden on both.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::account::{Handle, short_hash};
use crate::effect::{Draft, Effect, Kind};
use crate::ledger::{Entry, Lane, Ledger, Line};
use crate::media::MediaFolder;
use crate::problem::Problem;
use crate::view::{CommentView, LikeView, MessageView, PostView, VideoView};

const MAX_EFFECTS: usize = 100_000;
const MAX_ACCOUNTS: usize = 10_000;
/// The most that any list shows; the newest win.
const LIST_LIMIT: usize = 200;

/// A draft on its way into the ledger.
#[derive(Debug)]
pub(crate) struct Request {
    /// Who asks.
    pub(crate) account: Handle,
    /// The way it came.
    pub(crate) lane: Lane,
    /// The `Idempotency-Key` header, if the lane has one.
    pub(crate) idempotency_key: Option<String>,
    /// When it arrived.
    pub(crate) received: DateTime<Utc>,
    /// The caller's fencing token.
    pub(crate) fence: Option<String>,
    /// What is asked for.
    pub(crate) draft: Draft,
}

impl Request {
    /// What the caller calls it: the reference, else the key.
    pub(crate) fn name(&self) -> Option<&str> {
        self.draft.effect.reference().or(self.idempotency_key.as_deref())
    }
}

/// How one effect is to be applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Whether a known key replays the first effect.
    pub(crate) honour_keys: bool,
    /// How long the effect stays invisible.
    pub(crate) hide_ms: u64,
    /// How long the studio takes for a video.
    pub(crate) render_ms: u64,
    /// The time of application.
    pub(crate) now: DateTime<Utc>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was applied and is in the ledger.
    Applied(Line),
    /// Its key was known; this is the effect that the key stands for.
    Replayed(Line),
}

/// Which posts a list shows.
#[derive(Debug, Default)]
pub(crate) struct PostFilter {
    /// Only this author's.
    pub(crate) author: Option<String>,
    /// Only those with this reference.
    pub(crate) reference: Option<String>,
}

/// Which lines of the ledger are shown.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct EntryFilter {
    /// Only those with this key.
    key: Option<String>,
    /// Only those whose reference or key begins so.
    prefix: Option<String>,
    /// Only those of this kind.
    kind: Option<Kind>,
}

impl EntryFilter {
    fn passes(&self, line: &Line) -> bool {
        let begins = |prefix: &String| {
            let names = [line.effect.reference(), line.key.as_deref()];
            names.into_iter().flatten().any(|name| name.starts_with(prefix))
        };
        self.key.as_ref().is_none_or(|key| line.key.as_ref() == Some(key))
            && self.prefix.as_ref().is_none_or(begins)
            && self.kind.is_none_or(|kind| line.kind == kind)
    }
}

/// The whole state, and the ledger it can be rebuilt from.
#[derive(Debug)]
pub(crate) struct Site {
    base_url: String,
    ledger: Ledger,
    media: MediaFolder,
    lines: Vec<Line>,
    by_id: HashMap<String, usize>,
    by_key: HashMap<(Handle, String), usize>,
    accounts: BTreeSet<Handle>,
    /// How often each account has logged in since the site was started.
    logins: HashMap<Handle, u32>,
}

impl Site {
    /// Opens the ledger and rebuilds everything from it.
    pub(crate) fn open(ledger: &Path, base_url: String) -> io::Result<Self> {
        let media = MediaFolder::beside(ledger)?;
        let (ledger, lines) = Ledger::open(ledger)?;
        let mut site = Self {
            base_url,
            ledger,
            media,
            lines: Vec::new(),
            by_id: HashMap::new(),
            by_key: HashMap::new(),
            accounts: BTreeSet::new(),
            logins: HashMap::new(),
        };
        for line in lines {
            site.remember(line);
        }
        Ok(site)
    }

    /// Where media files are.
    pub(crate) fn media(&self) -> MediaFolder {
        self.media.clone()
    }

    /// Makes the account if this is its first login, and gives its token.
    pub(crate) fn log_in(&mut self, handle: &Handle) -> Result<String, Problem> {
        let token = self.admit(handle)?;
        *self.logins.entry(handle.clone()).or_default() += 1;
        Ok(token)
    }

    /// How often the account has logged in, and the token that it was given.
    pub(crate) fn logins(&self, handle: &Handle) -> (u32, String) {
        let count = self.logins.get(handle).copied().unwrap_or_default();
        (count, handle.token(self.ledger.generation()))
    }

    fn admit(&mut self, handle: &Handle) -> Result<String, Problem> {
        if !self.accounts.contains(handle) && self.accounts.len() >= MAX_ACCOUNTS {
            return Err(Problem::Full);
        }
        self.accounts.insert(handle.clone());
        Ok(handle.token(self.ledger.generation()))
    }

    /// The account a token stands for.
    pub(crate) fn signed_in(&mut self, token: &str) -> Option<Handle> {
        let handle = Handle::of_token(token, self.ledger.generation())?;
        // A token outlives a restart; an account that had done nothing yet comes back with it.
        self.admit(&handle).ok()?;
        Some(handle)
    }

    /// Whether there is such an account.
    pub(crate) fn has_account(&self, handle: &Handle) -> bool {
        self.accounts.contains(handle)
    }

    /// Applies a request: durable first, then visible.
    pub(crate) fn apply(&mut self, request: Request, terms: Terms) -> Result<Outcome, Problem> {
        let fingerprint = request.draft.fingerprint()?;
        if let Some(line) = self.known(&request, terms) {
            return if line.fingerprint == fingerprint {
                Ok(Outcome::Replayed(line.clone()))
            } else {
                Err(Problem::KeyReused)
            };
        }
        if self.lines.len() >= MAX_EFFECTS {
            return Err(Problem::Full);
        }
        if let Some(post_id) = request.draft.effect.target() {
            self.visible(post_id, Kind::Post, terms.now).ok_or(Problem::NotFound("post"))?;
        }
        if let Some(bytes) = &request.draft.bytes {
            self.media.store(bytes).map_err(Problem::Storage)?;
        }
        let line = self.line(request, fingerprint, terms);
        self.ledger.append(&line).map_err(Problem::Storage)?;
        self.remember(line.clone());
        Ok(Outcome::Applied(line))
    }

    fn known(&self, request: &Request, terms: Terms) -> Option<&Line> {
        let key = request.idempotency_key.clone()?;
        let place = self.by_key.get(&(request.account.clone(), key))?;
        self.lines.get(*place).filter(|_| terms.honour_keys)
    }

    fn line(&self, request: Request, fingerprint: String, terms: Terms) -> Line {
        let seq = self.lines.len() as u64 + 1;
        let Draft { effect, content_hash, .. } = request.draft;
        let reference = effect.reference().map(str::to_owned);
        let kind = effect.kind();
        let after = |ms: u64| {
            let length = TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX));
            terms.now.checked_add_signed(length).unwrap_or(DateTime::<Utc>::MAX_UTC)
        };
        Line {
            seq,
            key: request.idempotency_key.clone().or(reference),
            kind,
            content_hash,
            time: terms.now,
            received: Some(request.received),
            fence: request.fence,
            account: request.account,
            lane: request.lane,
            id: short_hash(&format!("effect:{}:{seq}", self.ledger.generation())),
            idempotency_key: request.idempotency_key,
            fingerprint,
            visible_from: after(terms.hide_ms),
            ready_from: (kind == Kind::Video).then(|| after(terms.render_ms)),
            effect,
        }
    }

    fn remember(&mut self, line: Line) {
        let place = self.lines.len();
        self.by_id.insert(line.id.clone(), place);
        if let Some(key) = &line.idempotency_key {
            // The first effect of a key is the one it stands for.
            let owned = (line.account.clone(), key.clone());
            self.by_key.entry(owned).or_insert(place);
        }
        self.accounts.insert(line.account.clone());
        self.accounts.extend(line.effect.receiver().cloned());
        self.lines.push(line);
    }

    /// Forgets everything; says where the old ledger went.
    pub(crate) fn start_over(&mut self) -> io::Result<PathBuf> {
        let aside = self.ledger.start_over()?;
        self.lines.clear();
        self.by_id.clear();
        self.by_key.clear();
        self.accounts.clear();
        Ok(aside)
    }

    /// The ledger in order, hidden effects included.
    pub(crate) fn entries(&self, filter: &EntryFilter) -> Vec<Entry<'_>> {
        self.lines.iter().filter(|line| filter.passes(line)).map(Line::entry).collect()
    }

    fn visible(&self, id: &str, kind: Kind, now: DateTime<Utc>) -> Option<&Line> {
        let line = self.lines.get(*self.by_id.get(id)?)?;
        (line.kind == kind && line.visible_from <= now).then_some(line)
    }

    /// Everything visible, newest first.
    fn newest(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Line> {
        self.lines.iter().rev().filter(move |line| line.visible_from <= now)
    }

    fn hanging_on(&self, post_id: &str, kind: Kind, now: DateTime<Utc>) -> Vec<&Line> {
        self.newest(now).filter(|line| line.kind == kind && line.effect.target() == Some(post_id)).collect()
    }

    /// The visible posts that pass the filter, newest first.
    pub(crate) fn posts(&self, filter: &PostFilter, now: DateTime<Utc>) -> Vec<PostView> {
        let passes = |line: &&Line| {
            let by = filter.author.as_deref();
            let reference = filter.reference.as_deref();
            by.is_none_or(|by| line.account.as_str() == by)
                && (reference.is_none() || line.effect.reference() == reference)
        };
        self.newest(now)
            .filter(|line| line.kind == Kind::Post)
            .filter(passes)
            .take(LIST_LIMIT)
            .filter_map(|line| self.post_view(line, now))
            .collect()
    }

    /// One visible post.
    pub(crate) fn post(&self, id: &str, now: DateTime<Utc>) -> Option<PostView> {
        self.post_view(self.visible(id, Kind::Post, now)?, now)
    }

    /// A post as it is shown, or nothing for a line of another kind.
    pub(crate) fn post_view(&self, line: &Line, now: DateTime<Utc>) -> Option<PostView> {
        let likes = self.hanging_on(&line.id, Kind::Like, now).len();
        let comments = self.hanging_on(&line.id, Kind::Comment, now).len();
        PostView::of(line, &self.base_url, likes, comments)
    }

    /// The visible comments on a post, oldest first.
    pub(crate) fn comments(&self, post_id: &str, now: DateTime<Utc>) -> Vec<CommentView> {
        let newest = self.hanging_on(post_id, Kind::Comment, now);
        let shown = newest.into_iter().take(LIST_LIMIT).rev();
        shown.filter_map(CommentView::of).collect()
    }

    /// The visible likes of a post, oldest first.
    pub(crate) fn likes(&self, post_id: &str, now: DateTime<Utc>) -> Vec<LikeView> {
        let newest = self.hanging_on(post_id, Kind::Like, now);
        let shown = newest.into_iter().take(LIST_LIMIT).rev();
        shown.filter_map(LikeView::of).collect()
    }

    /// The visible messages of an account, oldest first; with one other account if it is named.
    pub(crate) fn messages(
        &self,
        of: &Handle,
        with: Option<&str>,
        reference: Option<&str>,
        now: DateTime<Utc>,
    ) -> Vec<MessageView> {
        let passes = |line: &&Line| {
            let Effect::Message { to, .. } = &line.effect else {
                return false;
            };
            let other = if line.account == *of {
                to
            } else if to == of {
                &line.account
            } else {
                return false;
            };
            with.is_none_or(|with| other.as_str() == with)
                && (reference.is_none() || line.effect.reference() == reference)
        };
        let newest: Vec<&Line> = self.newest(now).filter(passes).take(LIST_LIMIT).collect();
        let shown = newest.into_iter().rev();
        shown.filter_map(MessageView::of).collect()
    }

    /// The visible videos of an account, newest first. Nobody else sees them.
    pub(crate) fn videos(&self, of: &Handle, now: DateTime<Utc>) -> Vec<VideoView> {
        let shown = self.newest(now).filter(|line| line.kind == Kind::Video && line.account == *of).take(LIST_LIMIT);
        shown.filter_map(|line| VideoView::of(line, now)).collect()
    }

    /// One visible video of an account.
    pub(crate) fn video(&self, id: &str, of: &Handle, now: DateTime<Utc>) -> Option<VideoView> {
        let line = self.visible(id, Kind::Video, now).filter(|line| line.account == *of)?;
        VideoView::of(line, now)
    }
}
