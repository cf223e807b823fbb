//! I5: positions of a stream are 1..n without gap or duplicate; replay from a cursor equals the
//! live order.
//!
//! - The events of the window have every position of it, once.
//! - Over all its connections a reader sees positions that strictly increase; a connection that
//!   resumes from an older cursor than the last event begins there anew.
//! - Each event that a reader sees is the row at its position: type, run, client and data. When it
//!   came, and the time in it, do not matter.
//! - Between where a reader began and the last position that it saw or reached nothing is missing
//!   that passes its filter. One with a filter must see the rows of that client; rows of `*` it
//!   may see. A reader without a filter must see every row, so the rig opens it as everybody's.
//!   A reader that began at the head (`after: null`) began just before its first event.
//! - All readers are told the same id for a position.

use std::collections::{BTreeMap, BTreeSet};

use crate::dossier::Dossier;
use crate::rows::Event;
use crate::stream::{Reader, Seen, Told, position_of};
use crate::verdict::Judge;

/// The most missing positions that one violation names.
const MAX_NAMED: usize = 20;

/// Judges the stream.
pub(super) fn judge(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    let window = dossier.trial.facts.window;
    dense(dossier.trial.dump.event.iter().map(|event| event.position), (window.after, window.upto), "event", judge);
    let rows = dossier.trial.dump.event.iter().map(|event| (event.position, event)).collect();
    let mut ids = BTreeMap::new();
    for reader in &dossier.trial.readers {
        let mut following = Following { dossier, rows: &rows, reader, place: Place::default() };
        for seen in &reader.seen {
            following.see(seen, &mut ids, judge);
        }
        following.settle(judge);
    }
}

/// Whether positions are every one of a window, once.
pub(super) fn dense(
    positions: impl Iterator<Item = i64>,
    (after, upto): (i64, i64),
    what: &str,
    judge: &mut Judge<'_>,
) {
    let mut there = BTreeSet::new();
    for position in positions {
        judge.require(there.insert(position), || {
            (position.to_string(), format!("{what} position {position} is there twice"), Vec::new())
        });
    }
    let missing: Vec<i64> = (after.saturating_add(1)..=upto).filter(|position| !there.contains(position)).collect();
    if let Some(first) = missing.first() {
        let says = format!("{} of the {what} positions behind {after} up to {upto} are missing", missing.len());
        judge.object(first, says, named(&missing));
    }
}

fn named(positions: &[i64]) -> Vec<String> {
    positions.iter().take(MAX_NAMED).map(|position| format!("position {position}")).collect()
}

/// A reader on its way through what it saw.
struct Following<'a> {
    dossier: &'a Dossier<'a>,
    rows: &'a BTreeMap<i64, &'a Event>,
    reader: &'a Reader,
    place: Place<'a>,
}

/// Where a reader stands.
#[derive(Default)]
struct Place<'a> {
    /// The only client whose events it wants.
    filter: Option<&'a str>,
    /// The position behind which it began; everything since was to be seen.
    began: Option<i64>,
    /// The last position that it saw, or resumed behind.
    last: Option<i64>,
    seen: BTreeSet<i64>,
}

impl<'a> Following<'a> {
    fn see(&mut self, seen: &'a Seen, ids: &mut BTreeMap<i64, &'a str>, judge: &mut Judge<'_>) {
        match seen {
            Seen::Opened { after, client_id, .. } => self.opened(after.as_deref(), client_id.as_deref(), judge),
            Seen::Event { event, .. } => self.event(event, ids, judge),
            Seen::Reached { position } => self.place.last = self.place.last.max(Some(*position)),
            Seen::Closed {} | Seen::Other => {}
        }
    }

    fn opened(&mut self, after: Option<&str>, filter: Option<&'a str>, judge: &mut Judge<'_>) {
        let resumed = after.map(|cursor| position_of(cursor).ok_or(cursor));
        let resumed = match resumed {
            Some(Err(cursor)) => return self.object(&format!("resumed from {cursor}, which is no cursor"), judge),
            Some(Ok(position)) => Some(position),
            None => None,
        };
        let goes_on = resumed.is_some() && self.place.began.is_some() && self.place.filter == filter;
        if !goes_on {
            self.settle(judge);
            self.place = Place { filter, began: resumed, last: resumed, seen: BTreeSet::new() };
            return;
        }
        self.place.began = self.place.began.min(resumed);
        self.place.last = resumed;
    }

    fn event(&mut self, told: &'a Told, ids: &mut BTreeMap<i64, &'a str>, judge: &mut Judge<'_>) {
        judge.look();
        let Some(position) = position_of(&told.cursor) else {
            return self.object(&format!("was told event {} with {}, which is no cursor", told.id, told.cursor), judge);
        };
        if let Some(last) = self.place.last.filter(|last| *last >= position) {
            self.object(&format!("saw position {position} after {last}"), judge);
        }
        self.place.began.get_or_insert(position - 1);
        self.place.last = Some(position);
        self.place.seen.insert(position);
        let id = *ids.entry(position).or_insert(&told.id);
        if id != told.id {
            self.object(&format!("was told id {} for position {position}, another reader {id}", told.id), judge);
        }
        if self.place.filter.is_some_and(|client| told.clientid != client && told.clientid != "*") {
            self.object(
                &format!("was told position {position} of client {}, which it did not ask for", told.clientid),
                judge,
            );
        }
        if self.dossier.trial.facts.window.holds(position) {
            self.compare(position, told, judge);
        }
    }

    fn compare(&self, position: i64, told: &Told, judge: &mut Judge<'_>) {
        let Some(row) = self.rows.get(&position) else {
            return self
                .object(&format!("was told an event at position {position}, where the database has none"), judge);
        };
        let same = row.r#type == told.r#type
            && row.run_id == told.subject
            && row.client_id == told.clientid
            && row.data == told.data;
        if !same {
            let row = format!("{} of run {:?} and client {}: {}", row.r#type, row.run_id, row.client_id, row.data);
            let other =
                format!("{} of run {:?} and client {}: {}", told.r#type, told.subject, told.clientid, told.data);
            self.object(&format!("was told at position {position} {other}; the database has {row}"), judge);
        }
    }

    /// Whether everything was seen since the reader began.
    fn settle(&self, judge: &mut Judge<'_>) {
        let (Some(began), Some(last)) = (self.place.began, self.place.last) else { return };
        let window = self.dossier.trial.facts.window;
        let wanted = |row: &Event| self.place.filter.is_none_or(|client| row.client_id == client);
        let mut missing = Vec::new();
        for (position, row) in self.rows {
            if (began < *position && *position <= last) && window.holds(*position) && wanted(row) {
                judge.look();
                if !self.place.seen.contains(position) {
                    missing.push(*position);
                }
            }
        }
        if let Some(first) = missing.first() {
            let says = format!(
                "reader {} began behind {began}, came to {last} and missed {} events, the first at {first}",
                self.reader.name,
                missing.len()
            );
            judge.object(&self.reader.name, says, named(&missing));
        }
    }

    fn object(&self, says: &str, judge: &mut Judge<'_>) {
        judge.object(&self.reader.name, format!("reader {} {says}", self.reader.name), Vec::new());
    }
}
