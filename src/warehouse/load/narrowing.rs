//! Which of several records the database refused.

use uuid::Uuid;

use crate::warehouse::WarehouseError;

/// The parts of a batch in which what was refused is looked for, to be taken from the last on. The server mostly tells
/// the row that it refuses, whose first value is its contact's key: that contact comes first, and by itself, so that
/// nearly all others are written in two parts. Else the batch is halved, which costs a write for each half on the way.
pub fn narrowed<'b, T>(batch: &'b [T], error: &WarehouseError, key: impl Fn(&T) -> Uuid) -> [&'b [T]; 3] {
    parted(batch, error.detail(), key)
}

fn parted<'b, T>(batch: &'b [T], told: Option<&str>, key: impl Fn(&T) -> Uuid) -> [&'b [T]; 3] {
    let is_told = |one: &T| told.is_some_and(|told| told.contains(&key(one).to_string()));
    let (early, one, late) = if let Some(place) = batch.iter().position(is_told) {
        (&batch[..place], &batch[place..=place], &batch[place + 1..])
    } else {
        let (early, late) = batch.split_at(batch.len() / 2);
        (early, &[][..], late)
    };
    [late, early, one]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_that_is_told_comes_first_and_nothing_is_left_out() {
        let batch: Vec<Uuid> = (1..=5).map(Uuid::from_u128).collect();
        let told = format!("Failing row contains ({}, support, …).", batch[3]);
        assert_eq!(parted(&batch, Some(&told), |key| *key), [&batch[4..], &batch[..3], &batch[3..4]]);
        let halves = [&batch[2..], &batch[..2], &[]];
        assert_eq!(parted(&batch, None, |key| *key), halves);
        assert_eq!(parted(&batch, Some("Failing row contains (null, …)."), |key| *key), halves);
    }
}
