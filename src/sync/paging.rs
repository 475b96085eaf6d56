//! What a server obeys: the offset, the page, or an offset that counts pages.

/// How the k-th page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Habit {
    /// `offset` counts records and `page` is 1: right for a server that obeys the offset, and for one
    /// that adds both.
    #[default]
    Offset,
    /// Only `page` moves.
    Page,
    /// `offset` counts pages.
    OffsetAsPages,
}

impl Habit {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offset => "offset",
            Self::Page => "page",
            Self::OffsetAsPages => "offset_as_pages",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "offset" => Some(Self::Offset),
            "page" => Some(Self::Page),
            "offset_as_pages" => Some(Self::OffsetAsPages),
            _ => None,
        }
    }

    /// `(offset, page)` of the k-th page, from 0.
    pub fn place(self, k: u64, limit: u32) -> (u64, u64) {
        match self {
            Self::Offset => (k * u64::from(limit), 1),
            Self::Page => (0, k + 1),
            Self::OffsetAsPages => (k, 1),
        }
    }
}

/// What a read shows when the server does not keep the habit that was assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symptom {
    /// The second page is the first one again: the server did not see it move.
    SamePage,
    /// A page is empty while more is due: the server went too far.
    EmptyPage,
    /// Ids repeat: the server went not far enough.
    Repeats,
}

/// The habit to try after a symptom was seen twice; `None` when the symptom says nothing against the
/// habit.
pub fn after(habit: Habit, symptom: Symptom) -> Option<Habit> {
    match (habit, symptom) {
        (Habit::Offset, Symptom::SamePage) => Some(Habit::Page),
        (Habit::Offset, Symptom::EmptyPage) => Some(Habit::OffsetAsPages),
        (Habit::Page | Habit::OffsetAsPages, _) => Some(Habit::Offset),
        (Habit::Offset, Symptom::Repeats) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server of each kind skips for `(offset, page)`.
    fn skipped(server: &str, (offset, page): (u64, u64), limit: u64) -> u64 {
        match server {
            "offset" => offset,
            "page" => (page - 1) * limit,
            "both" => offset + (page - 1) * limit,
            _ => offset * limit,
        }
    }

    #[test]
    fn each_habit_is_right_for_its_server() {
        for (server, habit) in [
            ("offset", Habit::Offset),
            ("both", Habit::Offset),
            ("page", Habit::Page),
            ("offset_as_pages", Habit::OffsetAsPages),
        ] {
            for k in 0..5 {
                assert_eq!(skipped(server, habit.place(k, 7), 7), k * 7, "{server}, page {k}");
            }
        }
    }

    #[test]
    fn each_server_shows_the_symptom_that_leads_to_its_habit() {
        assert_eq!(skipped("page", Habit::Offset.place(1, 7), 7), 0, "the first page again");
        assert_eq!(after(Habit::Offset, Symptom::SamePage), Some(Habit::Page));
        let (due, last) = (7 * 25, 24);
        assert!(skipped("offset_as_pages", Habit::Offset.place(last, 7), 7) >= due, "the last page is empty");
        assert_eq!(after(Habit::Offset, Symptom::EmptyPage), Some(Habit::OffsetAsPages));
    }

    #[test]
    fn a_habit_is_kept_by_its_name() {
        for (habit, name) in
            [(Habit::Offset, "offset"), (Habit::Page, "page"), (Habit::OffsetAsPages, "offset_as_pages")]
        {
            assert_eq!((habit.as_str(), Habit::parse(name)), (name, Some(habit)));
        }
        assert_eq!(Habit::parse("auto"), None);
    }
}
