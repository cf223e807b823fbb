//! Quiet hours in the time zones of people (S-017).

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::document::{QuietHours, Weekday};

/// How many periods may follow each other without a gap before nobody waits for the end any more.
const MAX_CHAINED: usize = 64;
/// The longest that clocks skip when they are set forward, in minutes: a day, as in Samoa in 2011.
const LONGEST_SKIP: i64 = 24 * 60;

/// One period as it can be reckoned with.
pub(super) struct Daily<'a> {
    tz: Tz,
    /// Minutes of the day.
    from: u32,
    to: u32,
    quiet: &'a QuietHours,
}

impl<'a> Daily<'a> {
    /// Reads it; the field that does not fit, and why, if one does not.
    pub(super) fn of(quiet: &'a QuietHours) -> Result<Self, (&'static str, String)> {
        let unknown =
            |_| ("tz", format!("no time zone is called {:?}; use an IANA name such as Europe/Berlin", quiet.tz));
        let tz = quiet.tz.parse().map_err(unknown)?;
        let from = minutes(&quiet.from).filter(|from| *from < 24 * 60).ok_or(("from", "must be HH:MM".to_owned()))?;
        let to = minutes(&quiet.to).ok_or(("to", "must be HH:MM".to_owned()))?;
        if from == to {
            return Err(("to", "must not be `from`; a whole day is 00:00 to 24:00".to_owned()));
        }
        Ok(Self { tz, from, to, quiet })
    }

    /// When the period that holds `now` ends.
    fn end(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let today = now.with_timezone(&self.tz).date_naive();
        let yesterday = today.pred_opt();
        [Some(today), yesterday].into_iter().flatten().filter(|day| self.begins_on(*day)).find_map(|day| {
            let last = if self.to > self.from { Some(day) } else { day.checked_add_days(Days::new(1)) };
            let begins = self.at(day, self.from, false)?;
            let ends = self.at(last?, self.to, true)?;
            (begins <= now && now < ends).then_some(ends)
        })
    }

    fn begins_on(&self, day: NaiveDate) -> bool {
        let name = match day.weekday() {
            chrono::Weekday::Mon => Weekday::Mon,
            chrono::Weekday::Tue => Weekday::Tue,
            chrono::Weekday::Wed => Weekday::Wed,
            chrono::Weekday::Thu => Weekday::Thu,
            chrono::Weekday::Fri => Weekday::Fri,
            chrono::Weekday::Sat => Weekday::Sat,
            chrono::Weekday::Sun => Weekday::Sun,
        };
        self.quiet.days.is_empty() || self.quiet.days.contains(&name)
    }

    /// A time of day there. One that comes twice is the `later` or the earlier one, so that a period is never shorter
    /// than it reads; one that the clocks skip is the first after it.
    fn at(&self, day: NaiveDate, minutes: u32, later: bool) -> Option<DateTime<Utc>> {
        let local = day.and_hms_opt(0, 0, 0)? + TimeDelta::minutes(minutes.into());
        let real = (0..=LONGEST_SKIP).map(|skipped| local + TimeDelta::minutes(skipped)).find_map(|local| {
            let found = self.tz.from_local_datetime(&local);
            if later { found.latest() } else { found.earliest() }
        })?;
        Some(real.with_timezone(&Utc))
    }
}

fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let two =
        |part: &str| part.parse::<u32>().ok().filter(|_| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()));
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (minutes < 60 && (hours < 24 || (hours, minutes) == (24, 0))).then_some(hours * 60 + minutes)
}

/// When it is quiet no more; `None` if it is not quiet now. What cannot be reckoned with is quiet for a day.
pub(super) fn quiet_until(hours: &[QuietHours], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let end = |at: DateTime<Utc>| {
        let ends = hours.iter().filter_map(|quiet| match Daily::of(quiet) {
            Ok(daily) => daily.end(at),
            // It was checked when it came in; a time zone that is gone since stops, and does not let pass.
            Err(_) => Some(at + TimeDelta::days(1)),
        });
        ends.max()
    };
    let mut until = end(now)?;
    for _ in 0..MAX_CHAINED {
        match end(until) {
            Some(later) => until = later,
            None => break,
        }
    }
    Some(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(tz: &str, from: &str, to: &str, days: &[Weekday]) -> QuietHours {
        QuietHours { tz: tz.into(), from: from.into(), to: to.into(), days: days.iter().copied().collect() }
    }

    fn until(hours: &[QuietHours], now: &str) -> Option<String> {
        let now = now.parse().unwrap();
        quiet_until(hours, now).map(|until| until.format("%Y-%m-%dT%H:%M").to_string())
    }

    #[test]
    fn a_night_is_quiet_in_its_own_time_zone_and_ends_in_the_morning() {
        let night = [quiet("Europe/Berlin", "22:00", "07:00", &[])];
        assert_eq!(until(&night, "2026-01-10T20:59:59Z"), None);
        assert_eq!(until(&night, "2026-01-10T21:00:00Z"), Some("2026-01-11T06:00".to_owned()));
        assert_eq!(until(&night, "2026-01-11T05:59:59Z"), Some("2026-01-11T06:00".to_owned()));
        assert_eq!(until(&night, "2026-01-11T06:00:00Z"), None);
        // An hour earlier in summer.
        assert_eq!(until(&night, "2026-07-10T20:00:00Z"), Some("2026-07-11T05:00".to_owned()));
    }

    #[test]
    fn days_are_those_on_which_a_period_begins() {
        let weekend = [quiet("UTC", "20:00", "08:00", &[Weekday::Fri])];
        assert_eq!(until(&weekend, "2026-11-20T21:00:00Z"), Some("2026-11-21T08:00".to_owned()), "Friday");
        assert_eq!(until(&weekend, "2026-11-21T07:00:00Z"), Some("2026-11-21T08:00".to_owned()), "its morning after");
        assert_eq!(until(&weekend, "2026-11-21T21:00:00Z"), None, "Saturday");
    }

    #[test]
    fn periods_that_touch_are_one() {
        let whole =
            [quiet("UTC", "00:00", "24:00", &[Weekday::Sat, Weekday::Sun]), quiet("UTC", "23:00", "01:00", &[])];
        assert_eq!(until(&whole, "2026-11-20T23:30:00Z"), Some("2026-11-23T01:00".to_owned()));
    }

    #[test]
    fn an_hour_that_comes_twice_or_never_makes_no_period_shorter() {
        let night = [quiet("Europe/Berlin", "02:30", "02:45", &[])];
        // 2026-10-25: 02:00 to 03:00 comes twice, from the first 02:30 to the second 02:45.
        assert_eq!(until(&night, "2026-10-25T00:30:00Z"), Some("2026-10-25T01:45".to_owned()));
        // 2026-03-29: 02:00 to 03:00 never comes.
        assert_eq!(until(&night, "2026-03-29T00:59:00Z"), None);
        assert_eq!(until(&night, "2026-03-29T01:00:00Z"), None);
    }
}
