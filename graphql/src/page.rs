//! Lists as Relay connections over the engine's pages: the cursors are the engine's own.

use std::borrow::Cow;

use async_graphql::{OutputType, SimpleObject, TypeName};
use fermata_engine::read::{DEFAULT_LIMIT, EventPage, EventView, MAX_LIMIT, Page, Paged};
use uuid::Uuid;

/// The most that one field may weigh: sums of these stay far from the end of a `usize`.
const MAX_WEIGHT: usize = 1 << 30;

/// What a list weighs: itself, and its children as often as it may have items.
pub(crate) fn weigh(first: Option<u32>, children: usize) -> usize {
    let items = usize::try_from(first.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT)).unwrap_or(MAX_WEIGHT);
    items.saturating_mul(children).saturating_add(1).min(MAX_WEIGHT)
}

/// Where a page stands in its list.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct PageInfo {
    /// Whether there is more behind this page.
    has_next_page: bool,
    /// Whether there is something before it.
    has_previous_page: bool,
    /// The cursor of the first item.
    start_cursor: Option<String>,
    /// Where the next page begins: send it as `after`.
    end_cursor: Option<String>,
}

/// An item of a list and its place in it.
#[derive(Debug, SimpleObject)]
#[graphql(name_type)]
pub struct Edge<T: OutputType> {
    /// The item.
    #[graphql(complexity = "child_complexity")]
    node: T,
    /// Its place: send it as `after` to go on behind it.
    cursor: String,
}

/// One page of a list.
#[derive(Debug, SimpleObject)]
#[graphql(name_type)]
pub struct Connection<T: OutputType> {
    /// The items, in the list's order.
    #[graphql(complexity = "child_complexity")]
    edges: Vec<Edge<T>>,
    /// Where the page stands in the list.
    #[graphql(complexity = 0)]
    page_info: PageInfo,
}

impl<T: OutputType> TypeName for Edge<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", T::type_name()).into()
    }
}

impl<T: OutputType> TypeName for Connection<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", T::type_name()).into()
    }
}

impl<T: OutputType> Default for Connection<T> {
    /// A list without items.
    fn default() -> Self {
        Self::new(false, false, Vec::new())
    }
}

impl<T: OutputType> Connection<T> {
    /// A page of a list whose items have ids.
    pub(crate) fn of_ids<V: Clone>(page: Page, found: &Paged<V>, id: impl Fn(&V) -> Uuid) -> Self
    where
        T: From<V>,
    {
        let edges = found.items.iter().map(|item| (Page::cursor(id(item)), T::from(item.clone()))).collect();
        Self::new(page.continues(), found.next_cursor.is_some(), edges)
    }

    /// A page of a list that is numbered.
    pub(crate) fn of_places<V: Clone>(page: Page, found: &Paged<V>) -> Self
    where
        T: From<V>,
    {
        let edge = |(n, item): (usize, &V)| (page.cursor_of_place(n), T::from(item.clone()));
        Self::new(page.continues(), found.next_cursor.is_some(), found.items.iter().enumerate().map(edge).collect())
    }

    /// A page of events. It may be empty although there is more: the filter skipped what was
    /// looked at, and the end cursor says how far.
    pub(crate) fn of_events(continues: bool, found: &EventPage) -> Self
    where
        T: From<EventView>,
    {
        let edge = |event: &EventView| (event.cursor.to_string(), T::from(event.clone()));
        let edges = found.items.iter().map(edge).collect();
        let mut page = Self::new(continues, found.next_cursor.is_some(), edges);
        if let Some(next) = found.next_cursor {
            page.page_info.end_cursor = Some(next.to_string());
        }
        page
    }

    fn new(continues: bool, has_next_page: bool, edges: Vec<(String, T)>) -> Self {
        let start_cursor = edges.first().map(|(cursor, _)| cursor.clone());
        let end_cursor = edges.last().map(|(cursor, _)| cursor.clone());
        Self {
            edges: edges.into_iter().map(|(cursor, node)| Edge { node, cursor }).collect(),
            page_info: PageInfo { has_next_page, has_previous_page: continues, start_cursor, end_cursor },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_weighs_its_children_as_often_as_it_may_have_them() {
        assert_eq!(weigh(Some(3), 5), 16);
        assert_eq!(weigh(None, 1), 51);
        assert_eq!(weigh(Some(u32::MAX), 1), 201, "more is refused anyway");
        assert_eq!(weigh(Some(200), usize::MAX), MAX_WEIGHT);
    }
}
