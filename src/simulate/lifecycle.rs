//! What happens to a contact over time: when the vendor lists it, scores it, changes it, loses it.
//!
//! All of it is decided by the contact's key, so every read at one moment agrees, and costs so little
//! that a page can be found by walking over a whole range.

use super::dice::{Dice, Share, keyed};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// No contact is longer, so all are listed within ten minutes of their start, if not late.
pub const LONGEST: i64 = 8 * MINUTE;

/// The shares of contacts that something befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shares {
    pub late: Share,
    pub scored_later: Share,
    pub changed: Share,
    pub vanished: Share,
    pub drifted: Share,
    pub malformed: Share,
    pub repeated_ids: Share,
}

/// What is wrong with a malformed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformation {
    NoId,
    BadStart,
    NotANumber,
    HugeNumber,
    LoneSurrogate,
    NulCharacter,
    ImpossibleDate,
    ObjectForScalar,
    OutOfRange,
}

const MALFORMATIONS: &[Malformation] = &[
    Malformation::NoId,
    Malformation::BadStart,
    Malformation::NotANumber,
    Malformation::HugeNumber,
    Malformation::LoneSurrogate,
    Malformation::NulCharacter,
    Malformation::ImpossibleDate,
    Malformation::ObjectForScalar,
    Malformation::OutOfRange,
];

impl Malformation {
    /// Whether no row can be made of the record: it has no usable id or start.
    pub fn is_hopeless(self) -> bool {
        matches!(self, Self::NoId | Self::BadStart)
    }
}

/// Times are milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    pub start: i64,
    pub end: i64,
    pub is_below_threshold: bool,
    listed_from: i64,
    /// From when to when it is not listed, once it has been.
    gone: Option<(i64, i64)>,
    scored_at: i64,
    changes: [i64; 3],
    pub is_repeated: bool,
    pub is_drifted: bool,
    pub malformation: Option<Malformation>,
}

impl Life {
    pub fn of(key: u64, start: i64, appear_after: i64, shares: &Shares) -> Self {
        let mut dice = Dice::new(key, &[0x11fe]);
        let end = start + dice.between(4_000, LONGEST);
        let is_below_threshold = dice.percent(10);
        let befalls = |share: Share, fault: u64| !share.is_zero() && share.holds(keyed(key, &[0xfa, fault]));

        let malformation = befalls(shares.malformed, 1).then(|| *dice.pick(MALFORMATIONS));
        let is_hopeless = malformation.is_some_and(Malformation::is_hopeless);
        let mut listed_from = end + appear_after;
        if befalls(shares.late, 2) {
            listed_from += Dice::new(key, &[0x1a7e]).between(HOUR, 5 * DAY);
        }
        // What has no id is known by its content: that stays, or it would count as another record.
        let scored_at = if befalls(shares.scored_later, 3) && !is_below_threshold && !is_hopeless {
            end + Dice::new(key, &[0x5c0]).between(HOUR, 3 * DAY)
        } else {
            i64::MIN
        };
        let mut changes = [i64::MAX; 3];
        if befalls(shares.changed, 4) && !is_hopeless {
            let mut dice = Dice::new(key, &[0xc4a]);
            let times = dice.length(1, 3);
            let mut at = listed_from.max(scored_at);
            for change in changes.iter_mut().take(times) {
                at += dice.between(20 * MINUTE, 7 * DAY);
                *change = at;
            }
        }
        let gone = befalls(shares.vanished, 5).then(|| {
            let mut dice = Dice::new(key, &[0x60e]);
            let from = listed_from + dice.between(30 * MINUTE, 10 * DAY);
            (from, if dice.percent(50) { from + dice.between(HOUR, 3 * DAY) } else { i64::MAX })
        });
        Self {
            start,
            end,
            is_below_threshold,
            listed_from,
            gone,
            scored_at,
            changes,
            is_repeated: malformation.is_none() && befalls(shares.repeated_ids, 6),
            is_drifted: malformation.is_none() && befalls(shares.drifted, 7),
            malformation,
        }
    }

    /// From its start and from its end to when it is first listed.
    pub fn delays(&self) -> (i64, i64) {
        (self.listed_from - self.start, self.listed_from - self.end)
    }

    pub fn is_listed(&self, now: i64) -> bool {
        self.listed_from <= now && !self.gone.is_some_and(|(from, to)| from <= now && now < to)
    }

    /// Whether the evaluation has been made, if one is ever made.
    pub fn is_scored(&self, now: i64) -> bool {
        self.scored_at <= now
    }

    /// How often the content has changed.
    pub fn version(&self, now: i64) -> u64 {
        self.changes.iter().filter(|at| **at <= now).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Shares {
        let half = Share::new(0.5);
        Shares {
            late: half,
            scored_later: half,
            changed: half,
            vanished: half,
            drifted: half,
            malformed: half,
            repeated_ids: half,
        }
    }

    #[test]
    fn without_faults_a_contact_is_listed_within_ten_minutes_and_stays() {
        for key in 0..2_000 {
            let life = Life::of(key, 1_000, MINUTE, &Shares::default());
            assert!(!life.is_listed(life.end + MINUTE - 1));
            assert!(life.is_listed(1_000 + 10 * MINUTE) && life.is_listed(1_000 + 1_000 * DAY));
            assert!(life.is_scored(life.start) && life.version(i64::MAX - 1) == 0);
            assert!(!life.is_repeated && !life.is_drifted && life.malformation.is_none());
        }
    }

    #[test]
    fn every_fault_befalls_about_its_share() {
        let lives: Vec<Life> = (0..2_000).map(|key| Life::of(keyed(key, &[]), 0, MINUTE, &all())).collect();
        let share = |held: &dyn Fn(&Life) -> bool| lives.iter().filter(|life| held(life)).count();
        assert!((800..1200).contains(&share(&|l| !l.is_listed(11 * MINUTE))), "late");
        assert!((700..1100).contains(&share(&|l| !l.is_scored(0) && l.is_scored(4 * DAY))), "scored later");
        assert!((700..1100).contains(&share(&|l| l.version(60 * DAY) > 0)), "changed");
        assert!((350..650).contains(&share(&|l| !l.is_listed(60 * DAY))), "vanished for good");
        assert!((350..650).contains(&share(&|l| l.gone.is_some_and(|(_, to)| to < i64::MAX))), "vanished and back");
        assert!((800..1200).contains(&share(&|l| l.malformation.is_some())), "malformed");
        assert!((350..650).contains(&share(&|l| l.is_repeated)), "repeated");
        for malformation in MALFORMATIONS {
            assert!(share(&|l| l.malformation == Some(*malformation)) > 50, "{malformation:?}");
        }
    }

    #[test]
    fn a_fault_does_not_change_what_others_befall() {
        let mut shares = Shares { late: Share::new(0.5), ..Shares::default() };
        let alone: Vec<bool> = (0..500).map(|key| Life::of(key, 0, 0, &shares).is_listed(DAY)).collect();
        shares.malformed = Share::new(0.5);
        let together: Vec<bool> = (0..500).map(|key| Life::of(key, 0, 0, &shares).is_listed(DAY)).collect();
        assert_eq!(alone, together);
    }
}
