//! The stream, as it happens: the engine's followers in the schema's words.

use async_graphql::{Context, Result, Subscription as Root};
use fermata_engine::event::{Followed, Start};
use fermata_engine::read::EventView;
use futures::Stream;
use futures::stream::unfold;

use crate::asked::Asked;
use crate::filter::{EventFilter, cursor};
use crate::node::Event;

/// Everything that can be followed.
#[derive(Debug)]
pub struct Subscription;

/// Everything that can be followed.
#[Root]
impl Subscription {
    /// Events as they happen, in the order of the stream. With a cursor, first those behind it,
    /// then those that happen: none is left out and none comes twice.
    async fn events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which of them.")] filter: Option<EventFilter>,
        #[graphql(desc = "A cursor of the stream, `earliest` or `latest`; from now on when left out.")] after: Option<
            String,
        >,
    ) -> Result<impl Stream<Item = Result<Event>>> {
        let asked = Asked::of(context)?.clone();
        let from = match after.as_deref() {
            Some("earliest") => Start::Earliest,
            Some("latest") => Start::Latest,
            other => cursor(&asked, other)?.map_or(Start::Latest, Start::After),
        };
        let filter = filter.unwrap_or_default().read(&asked)?;
        let follower = asked.engine.follow(&asked.by, filter, from).await.map_err(|end| asked.refuse(end))?;
        Ok(unfold(Some((follower, asked)), async |following| {
            let (mut follower, asked) = following?;
            loop {
                match follower.next().await {
                    Ok(Followed::Event(event)) => {
                        return Some((Ok(Event::from(EventView::clone(&event))), Some((follower, asked))));
                    }
                    Ok(Followed::CaughtUp(_)) => {}
                    Err(end) => return Some((Err(asked.refuse(end)), None)),
                }
            }
        }))
    }
}
