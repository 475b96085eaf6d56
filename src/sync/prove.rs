//! Whether a read is whole. The API pages by offset over a set that moves: records slide between
//! pages, and only arithmetic over what was received can tell.

use std::collections::HashSet;

use crate::faults::{Defect, is_planted};
use crate::warehouse::load::Proof;

/// What tells two records apart: the conversation id, or without one the hash of the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordIdentity {
    Conversation(String),
    Text([u8; 16]),
}

/// What one read of one range showed.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// `totalResults` of each page, in the order of the answers.
    pub totals: Vec<Option<u64>>,
    pub rows: u64,
    pub identities: HashSet<RecordIdentity>,
    /// Answers that the records came from.
    pub pages: u64,
    /// Whether the last page was short or empty: there was nothing after it.
    pub is_exhaustive: bool,
    pub limit: u32,
}

impl Tally {
    pub fn distinct(&self) -> u64 {
        self.identities.len() as u64
    }

    pub fn has_repeats(&self) -> bool {
        self.distinct() < self.rows
    }

    /// The total, when all pages agree on one.
    pub fn total(&self) -> Option<u64> {
        let first = *self.totals.first()?;
        self.totals.iter().all(|total| *total == first).then_some(first)?
    }
}

/// By one read alone: a snapshot (one answer held it all) or by count (the total did not move, and is
/// the number of records and of distinct identities).
pub fn by_one_read(read: &Tally) -> Option<Proof> {
    if is_planted(Defect::ReadNotChecked) {
        return Some(Proof::Count);
    }
    let total = read.total()?;
    if total != read.rows {
        None
    } else if read.pages == 1 {
        Some(Proof::Snapshot)
    } else if read.distinct() == read.rows {
        Some(Proof::Count)
    } else {
        None
    }
}

/// By two reads, each to a short or empty page, cut at different page sizes, that gave the same
/// identities: for servers that repeat ids, or whose total counts something else.
pub fn by_agreement(one: &Tally, other: &Tally) -> Option<Proof> {
    let are_cut_apart = one.limit != other.limit || is_planted(Defect::AgreementSameCut);
    let agree = one.is_exhaustive && other.is_exhaustive && are_cut_apart && one.identities == other.identities;
    agree.then_some(Proof::Agreement)
}

/// Whether two reads show a total that steadily counts something else than rows: the same in every
/// answer of both, none repeated, and never the number received. (No total at all is steady too.)
pub fn is_other_total(one: &Tally, other: &Tally) -> bool {
    let steady = |read: &Tally| read.totals.windows(2).all(|pair| pair[0] == pair[1]);
    steady(one)
        && steady(other)
        && one.totals.first() == other.totals.first()
        && [one, other].iter().all(|read| read.total() != Some(read.rows) && !read.has_repeats())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(totals: &[u64], ids: &[&str], pages: u64, limit: u32) -> Tally {
        Tally {
            totals: totals.iter().map(|t| Some(*t)).collect(),
            rows: ids.len() as u64,
            identities: ids.iter().map(|id| RecordIdentity::Conversation((*id).to_owned())).collect(),
            pages,
            is_exhaustive: true,
            limit,
        }
    }

    #[test]
    fn one_answer_with_all_records_is_a_snapshot_even_with_repeats() {
        assert_eq!(by_one_read(&read(&[3], &["a", "b", "b"], 1, 10)), Some(Proof::Snapshot));
        assert_eq!(by_one_read(&read(&[3], &["a", "b"], 1, 10)), None, "a record is missing");
        assert_eq!(by_one_read(&read(&[0], &[], 1, 10)), Some(Proof::Snapshot), "nothing is a whole answer too");
    }

    #[test]
    fn several_answers_count_only_when_all_numbers_are_one() {
        assert_eq!(by_one_read(&read(&[3, 3], &["a", "b", "c"], 2, 2)), Some(Proof::Count));
        assert_eq!(by_one_read(&read(&[3, 4], &["a", "b", "c"], 2, 2)), None, "the total moved");
        assert_eq!(by_one_read(&read(&[3, 3], &["a", "b", "b"], 2, 2)), None, "a record slid between pages");
        assert_eq!(by_one_read(&read(&[4, 4], &["a", "b", "c"], 2, 2)), None, "one is missing");
        assert_eq!(by_one_read(&Tally { rows: 1, pages: 1, totals: vec![None], ..Tally::default() }), None);
    }

    #[test]
    fn reads_agree_only_when_cut_differently_and_read_to_the_end() {
        let one = read(&[9, 9], &["a", "b", "c"], 2, 2);
        let other = read(&[9], &["c", "b", "a"], 1, 10);
        assert_eq!(by_agreement(&one, &other), Some(Proof::Agreement));
        assert_eq!(by_agreement(&one, &read(&[9], &["a", "b", "c"], 1, 2)), None, "cut at the same places");
        assert_eq!(by_agreement(&one, &read(&[9], &["a", "b"], 1, 10)), None, "another set");
        assert_eq!(by_agreement(&one, &Tally { is_exhaustive: false, ..other }), None, "not read to the end");
    }

    #[test]
    fn a_total_that_moves_or_a_repeated_id_is_not_another_kind_of_total() {
        let steady = read(&[9, 9], &["a", "b", "c"], 2, 2);
        assert!(is_other_total(&steady, &steady));
        assert!(!is_other_total(&steady, &read(&[9, 10], &["a", "b", "c"], 2, 2)));
        assert!(!is_other_total(&steady, &read(&[9, 9], &["a", "b", "b"], 2, 2)));
        assert!(!is_other_total(&steady, &read(&[3, 3], &["a", "b", "c"], 2, 2)));
    }
}
