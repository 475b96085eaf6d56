//! Time as a grid: days by hours, and months, each cell coloured by the least that can be said of it.

use chrono::{DateTime, Datelike as _, Days, DurationRound as _, Months, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::report::StreamReport;
use super::verdict::UP_TO_DATE;
use crate::warehouse::backfills::Backfill;
use crate::warehouse::ledger::{Proved, Stretch};

/// What is said of a cell; of several things in it the last one here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Before the stream's start, or not settled yet.
    Outside,
    Verified,
    /// New: planned, or settled and to be planned.
    Waiting,
    /// Planned or to be planned, of a backfill.
    Backfilling,
    /// Verified, and to be read again.
    Due,
    /// Nobody has read it, and nobody is to.
    Unread,
    Unverified,
    Failed,
    Running,
}

impl Kind {
    /// Those that a legend names.
    pub const TOLD: [Self; 8] = [
        Self::Verified,
        Self::Unverified,
        Self::Running,
        Self::Failed,
        Self::Due,
        Self::Backfilling,
        Self::Waiting,
        Self::Unread,
    ];

    fn of(name: &str) -> Self {
        match name {
            "running" => Self::Running,
            "unverified" => Self::Unverified,
            "failed" => Self::Failed,
            "due" => Self::Due,
            "backfilling" => Self::Backfilling,
            "waiting" => Self::Waiting,
            _ => Self::Verified,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::Outside => "not due",
            Self::Verified => "verified",
            Self::Waiting => "waiting",
            Self::Backfilling => "backfilling",
            Self::Due => "due for recheck",
            Self::Unread => "unread",
            Self::Unverified => "unverified",
            Self::Failed => "failed",
            Self::Running => "running",
        }
    }
}

/// An hour, or several in a row of a day that lie in one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub from: DateTime<Utc>,
    pub hours: u32,
    pub kind: Kind,
    /// The windows in it, or the one that it is a part of.
    pub windows: i64,
    /// Of those windows: of the cell itself only where they lie within it.
    pub contacts: i64,
    pub is_exact: bool,
    /// The window that it is a part of, which reaches further than the cell.
    pub part_of: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Where there is one alone.
    pub window_id: Option<i64>,
}

impl Cell {
    pub fn to(&self) -> DateTime<Utc> {
        self.from + TimeDelta::hours(i64::from(self.hours))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    pub date: NaiveDate,
    pub cells: Vec<Cell>,
}

/// A month of a stream's history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Month {
    pub first: NaiveDate,
    pub kind: Kind,
    /// Of what is due of it, 0 to 1.
    pub proved: f64,
}

/// Settled time that is not planned yet is told where it is more than what comes between two polls.
const AHEAD: TimeDelta = TimeDelta::hours(1);

/// What the grids of one stream are drawn from.
#[derive(Debug)]
pub struct Ground<'a> {
    stretches: Vec<&'a Stretch>,
    proved: &'a [Proved],
    /// What open backfills have not planned yet.
    unplanned: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    start: DateTime<Utc>,
    frontier: DateTime<Utc>,
    /// Up to where it is settled; the frontier, where that keeps up with it.
    settled: DateTime<Utc>,
}

impl<'a> Ground<'a> {
    pub fn of<'b>(
        stream: &'a StreamReport,
        stretches: &'a [Stretch],
        backfills: impl Iterator<Item = &'b Backfill>,
    ) -> Self {
        let name = &stream.status.stream;
        let frontier = stream.status.frontier;
        let settled = stream.status.watermark + TimeDelta::seconds(stream.lag_seconds);
        Self {
            stretches: stretches.iter().filter(|stretch| stretch.stream == *name).collect(),
            proved: &stream.proved,
            unplanned: backfills
                .filter(|b| b.stream == *name && b.is_open() && b.from_at < b.planned_down_to)
                .map(|b| (b.from_at, b.planned_down_to))
                .collect(),
            start: stream.status.start_at,
            frontier,
            settled: if stream.state != UP_TO_DATE && settled - frontier > AHEAD { settled } else { frontier },
        }
    }

    /// The days from the first to the last, both included, the latest first.
    pub fn days(&self, first: NaiveDate, last: NaiveDate) -> Vec<Day> {
        let mut days: Vec<Day> =
            first.iter_days().take_while(|date| *date <= last).map(|date| self.day(date)).collect();
        days.reverse();
        days
    }

    fn day(&self, date: NaiveDate) -> Day {
        let midnight = date.and_time(NaiveTime::MIN).and_utc();
        let mut cells: Vec<Cell> = Vec::new();
        for cell in (0..24).map(|hour| self.hour(midnight + TimeDelta::hours(hour))) {
            match cells.last_mut() {
                // One window, as far as the day goes.
                Some(last) if last.part_of.is_some() && same_part(last, &cell) => last.hours += 1,
                _ => cells.push(cell),
            }
        }
        Day { date, cells }
    }

    fn hour(&self, from: DateTime<Utc>) -> Cell {
        let to = from + TimeDelta::hours(1);
        let here: Vec<_> = self.stretches.iter().filter(|s| s.from_at < to && s.to_at > from).collect();
        let mut kind = here.iter().map(|stretch| Kind::of(&stretch.kind)).max().unwrap_or(Kind::Outside);
        let due = (from.max(self.start), to.min(self.frontier));
        if due.0 < due.1 && kind < Kind::Unread && !self.is_proved(due) {
            let is_planned = |(from, to): &(DateTime<Utc>, DateTime<Utc>)| *from < due.1 && *to > due.0;
            let else_kind = if self.unplanned.iter().any(is_planned) { Kind::Backfilling } else { Kind::Unread };
            // What waits to be read is not unread for good.
            kind = if matches!(kind, Kind::Waiting | Kind::Backfilling) { kind } else { else_kind };
        }
        // Settled and not planned: a stream that is refused or behind plans little ahead.
        let ahead = (from.max(self.start).max(self.frontier), to.min(self.settled));
        if ahead.0 < ahead.1 && !self.is_proved(ahead) {
            kind = kind.max(Kind::Waiting);
        }
        // What was read of it; what waits over it counts only where nothing was.
        let is_read = |stretch: &&&&Stretch| matches!(stretch.kind.as_str(), "verified" | "unverified" | "due");
        let read: Vec<_> = here.iter().filter(is_read).collect();
        let told: Vec<_> = if read.is_empty() { here.iter().collect() } else { read };
        let worst = here.iter().find(|stretch| Kind::of(&stretch.kind) == kind);
        let one = match (told.as_slice(), worst) {
            ([one], _) => Some(***one),
            _ => None,
        };
        let part_of = one.map(|s| (s.from_at, s.to_at)).filter(|(begins, ends)| *begins < from || *ends > to);
        let window_id = match (worst, one) {
            (Some(worst), _) if kind > Kind::Unread && worst.windows == 1 => Some(worst.window_id),
            (_, Some(one)) if one.windows == 1 => Some(one.window_id),
            _ => None,
        };
        Cell {
            from,
            hours: 1,
            kind,
            windows: told.iter().map(|stretch| stretch.windows).sum(),
            contacts: told.iter().map(|stretch| stretch.contacts).sum(),
            is_exact: told.iter().all(|stretch| stretch.from_at >= from && stretch.to_at <= to),
            part_of,
            window_id,
        }
    }

    fn is_proved(&self, (from, to): (DateTime<Utc>, DateTime<Utc>)) -> bool {
        self.proved.iter().any(|span| span.from_at <= from && span.to_at >= to)
    }

    /// Every month since the start, the earliest first; `at` lies in the last one.
    pub fn months(&self, at: DateTime<Utc>) -> Vec<Month> {
        let first = self.start.date_naive().with_day(1).unwrap_or_default();
        let months = std::iter::successors(Some(first), |month| month.checked_add_months(Months::new(1)));
        months.take_while(|month| *month <= at.date_naive()).map(|month| self.month(month)).collect()
    }

    fn month(&self, first: NaiveDate) -> Month {
        let next = first.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX);
        let begins = first.and_time(NaiveTime::MIN).and_utc().max(self.start);
        let ends = next.and_time(NaiveTime::MIN).and_utc().min(self.settled);
        let due = (ends - begins).as_seconds_f64();
        if due <= 0.0 {
            return Month { first, kind: Kind::Outside, proved: 0.0 };
        }
        let within =
            |from: DateTime<Utc>, to: DateTime<Utc>| (to.min(ends) - from.max(begins)).as_seconds_f64().max(0.0);
        let proved = self.proved.iter().map(|span| within(span.from_at, span.to_at)).sum::<f64>() / due;
        let kind = if proved >= 1.0 {
            Kind::Verified
        } else if self.unplanned.iter().any(|(from, to)| within(*from, *to) > 0.0) {
            Kind::Backfilling
        } else {
            Kind::Waiting
        };
        Month { first, kind, proved: proved.min(1.0) }
    }
}

fn same_part(last: &Cell, next: &Cell) -> bool {
    (last.part_of, last.kind, last.window_id) == (next.part_of, next.kind, next.window_id)
}

pub fn floor_to_hour(moment: DateTime<Utc>) -> DateTime<Utc> {
    moment.duration_trunc(TimeDelta::hours(1)).unwrap_or(moment)
}

/// The first and the last day of a month; of the month of `at`, up to that day.
pub fn days_of_month(month: NaiveDate, at: DateTime<Utc>) -> (NaiveDate, NaiveDate) {
    let first = month.with_day(1).unwrap_or(month);
    let last = first.checked_add_months(Months::new(1)).and_then(|next| next.checked_sub_days(Days::new(1)));
    (first, last.unwrap_or(first).min(at.date_naive()).max(first))
}

#[cfg(test)]
mod tests;
