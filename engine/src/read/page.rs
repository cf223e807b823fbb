//! Pages: a bounded number of items and an opaque cursor behind the last one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How many items a page has when nothing is said.
pub const DEFAULT_LIMIT: u32 = 50;
/// How many items a page has at most.
pub const MAX_LIMIT: u32 = 200;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page {
    limit: u32,
    after: Option<Uuid>,
}

/// Why a page cannot be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageError {
    /// Not 1 to [`MAX_LIMIT`].
    Limit,
    /// Not a cursor of a list.
    After,
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit => write!(f, "must be 1 to {MAX_LIMIT}"),
            Self::After => f.write_str("is not a cursor of this list; send `next_cursor` exactly as it was given"),
        }
    }
}

impl std::error::Error for PageError {}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct Paged<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; `null` at the end.
    pub next_cursor: Option<String>,
}

impl<T> Default for Paged<T> {
    /// A list without items.
    fn default() -> Self {
        Self { items: Vec::new(), next_cursor: None }
    }
}

impl Default for Page {
    fn default() -> Self {
        Self { limit: DEFAULT_LIMIT, after: None }
    }
}

impl Page {
    /// A page of `limit` items behind the cursor `after`.
    pub fn new(limit: Option<u32>, after: Option<&str>) -> Result<Self, PageError> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(PageError::Limit);
        }
        let after = after.map(decode).transpose()?;
        Ok(Self { limit, after })
    }

    /// Whether the page begins behind another one.
    pub fn continues(self) -> bool {
        self.after.is_some()
    }

    /// The cursor just behind an item with an id.
    pub fn cursor(id: Uuid) -> String {
        encode(id)
    }

    /// The cursor just behind the page's `n`th item (from 0) of a list that is numbered.
    pub fn cursor_of_place(self, n: usize) -> String {
        let before = self.after.map_or(0, |after| after.as_u128());
        encode(Uuid::from_u128(before.saturating_add(n as u128 + 1)))
    }

    /// The id behind which the page begins.
    pub(crate) fn after(self) -> Option<Uuid> {
        self.after
    }

    /// One row more than the page has: whether there is a next page is known without counting.
    pub(crate) fn probe(self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// For lists that are numbered instead of having ids: how many items come before this page.
    pub(crate) fn skipped(self) -> i64 {
        self.after.and_then(|after| i64::try_from(after.as_u128()).ok()).unwrap_or(0)
    }

    /// The page out of probed rows; the cursor is the last item's id.
    pub(crate) fn cut<T>(self, mut rows: Vec<T>, id: impl Fn(&T) -> Uuid) -> Paged<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(|last| encode(id(last)));
        Paged { items: rows, next_cursor }
    }

    /// The page out of a list that is bounded and was read whole; the cursor is a count.
    pub fn of_whole<T>(self, whole: Vec<T>) -> Paged<T> {
        let skipped = usize::try_from(self.skipped()).unwrap_or(usize::MAX);
        let probed = usize::try_from(self.probe()).unwrap_or(usize::MAX);
        self.number(whole.into_iter().skip(skipped).take(probed).collect())
    }

    /// The page out of probed rows of a list that only grows; the cursor is a count.
    pub(crate) fn number<T>(self, rows: Vec<T>) -> Paged<T> {
        let end = self.skipped().saturating_add(i64::from(self.limit));
        self.cut(rows, |_| Uuid::from_u128(u128::try_from(end).unwrap_or(0)))
    }
}

fn encode(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

fn decode(text: &str) -> Result<Uuid, PageError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| PageError::After)?;
    Uuid::from_slice(&bytes).map_err(|_| PageError::After)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u128>) -> Vec<Uuid> {
        range.map(Uuid::from_u128).collect()
    }

    #[test]
    fn the_limit_is_bounded_and_the_cursor_is_ours() {
        assert_eq!(Page::new(None, None), Ok(Page::default()));
        assert_eq!(Page::new(Some(0), None), Err(PageError::Limit));
        assert_eq!(Page::new(Some(MAX_LIMIT + 1), None), Err(PageError::Limit));
        for bad in ["", "x", "AAAA", "not base64!", &encode(Uuid::max())[1..]] {
            assert_eq!(Page::new(None, Some(bad)), Err(PageError::After), "{bad}");
        }
    }

    #[test]
    fn a_full_page_names_its_last_item_and_the_last_page_nothing() {
        let page = Page::new(Some(3), None).unwrap();
        let first = page.cut(ids(0..4), |id| *id);
        assert_eq!(first.items, ids(0..3));
        let next = Page::new(Some(3), first.next_cursor.as_deref()).unwrap();
        assert_eq!(next.after(), Some(Uuid::from_u128(2)));
        assert_eq!(first.next_cursor, Some(Page::cursor(Uuid::from_u128(2))));
        assert_eq!(page.cut(ids(0..3), |id| *id).next_cursor, None);
        assert_eq!(page.cut(ids(0..0), |id| *id).next_cursor, None);
    }

    #[test]
    fn a_numbered_list_goes_on_where_it_stopped() {
        let page = Page::new(Some(2), None).unwrap();
        assert_eq!(page.skipped(), 0);
        let first = page.number(vec!['a', 'b', 'c']);
        assert_eq!(Some(page.cursor_of_place(1)), first.next_cursor);
        let next = Page::new(Some(2), first.next_cursor.as_deref()).unwrap();
        assert_eq!(next.skipped(), 2);
        assert!(next.continues() && !page.continues());
        assert_eq!(next.number(vec!['c']).next_cursor, None);
        let whole = || vec!['a', 'b', 'c'];
        assert_eq!((page.of_whole(whole()), next.of_whole(whole()).items), (page.number(whole()), vec!['c']));
        assert_eq!(next.of_whole(vec!['a']), Paged::default());
    }
}
