use super::*;
use crate::status::{StreamReport, samples};
use crate::warehouse::status::StreamStatus;

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-03-{text}:00Z").parse().expect("a time")
}

fn stretch(kind: &str, from: &str, to: &str, windows: i64, contacts: i64) -> Stretch {
    let (from_at, to_at) = (at(from), at(to));
    Stretch { stream: "support".into(), kind: kind.into(), from_at, to_at, windows, contacts, window_id: 7 }
}

fn stream(start: &str, frontier: &str, proved: &[(&str, &str)]) -> StreamReport {
    let status = StreamStatus { frontier: at(frontier), ..samples::stream(at(start), at(start)) };
    let proved =
        proved.iter().map(|(from, to)| Proved { stream: "support".into(), from_at: at(from), to_at: at(to) }).collect();
    StreamReport { status, lag_seconds: 0, state: "up to date", behind: Vec::new(), proved, hours: Vec::new() }
}

/// Kind, hours and contacts of each cell of 2 March.
fn second_of_march(stream: &StreamReport, stretches: &[Stretch], backfills: &[Backfill]) -> Vec<(Kind, u32, i64)> {
    let date = at("02T00:00").date_naive();
    let days = Ground::of(stream, stretches, backfills.iter()).days(date, date);
    assert_eq!(days.len(), 1);
    let cells: Vec<_> = days[0].cells.iter().map(|cell| (cell.kind, cell.hours, cell.contacts)).collect();
    assert_eq!(cells.iter().map(|(_, hours, _)| hours).sum::<u32>(), 24, "{cells:?}");
    cells
}

fn backfill(from: &str, down_to: &str) -> Backfill {
    Backfill { planned_down_to: at(down_to), ..samples::backfill(at(from), at("20T00:00")) }
}

#[test]
fn an_hour_tells_the_contacts_of_its_windows_and_the_worst_of_them() {
    let stretches = [
        stretch("verified", "02T00:00", "02T01:00", 4, 100),
        stretch("verified", "02T01:00", "02T02:00", 3, 30),
        stretch("unverified", "02T01:00", "02T02:00", 1, 5),
        stretch("verified", "02T02:00", "02T03:00", 1, 9),
        stretch("running", "02T02:00", "02T03:00", 1, 0),
    ];
    let stream = stream("02T00:00", "02T03:00", &[("02T00:00", "02T01:00"), ("02T02:00", "02T03:00")]);
    let cells = second_of_march(&stream, &stretches, &[]);
    assert_eq!(
        cells[..4],
        [(Kind::Verified, 1, 100), (Kind::Unverified, 1, 35), (Kind::Running, 1, 9), (Kind::Outside, 1, 0)]
    );
}

#[test]
fn a_window_of_many_hours_is_one_cell_a_day() {
    let stretches =
        [stretch("verified", "01T12:00", "02T10:30", 1, 7_000), stretch("verified", "02T10:30", "03T00:00", 1, 5)];
    let stream = stream("01T12:00", "03T00:00", &[("01T12:00", "03T00:00")]);
    let cells = second_of_march(&stream, &stretches, &[]);
    // The eleventh hour lies in both, and its number is that of neither.
    assert_eq!(cells, [(Kind::Verified, 10, 7_000), (Kind::Verified, 1, 7_005), (Kind::Verified, 13, 5)]);
    let date = at("02T00:00").date_naive();
    assert!(Ground::of(&stream, &stretches, [].iter()).days(date, date)[0].cells.iter().all(|cell| !cell.is_exact));
}

#[test]
fn a_gap_is_unread_however_small_unless_a_backfill_comes_to_it() {
    let stretches =
        [stretch("verified", "02T00:00", "02T01:00", 1, 8), stretch("verified", "02T01:00", "02T02:00", 59, 8)];
    let proved = [("02T00:00", "02T01:00"), ("02T01:01", "02T02:00")];
    let stream = stream("02T00:00", "02T03:00", &proved);
    let kinds = |backfills: &[Backfill]| {
        second_of_march(&stream, &stretches, backfills).iter().map(|(kind, ..)| *kind).take(3).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&[]), [Kind::Verified, Kind::Unread, Kind::Unread]);
    assert_eq!(kinds(&[backfill("01T00:00", "02T02:00")]), [Kind::Verified, Kind::Backfilling, Kind::Unread]);
    // What is planned already has windows of its own.
    assert_eq!(kinds(&[backfill("01T00:00", "02T01:00")]), [Kind::Verified, Kind::Unread, Kind::Unread]);
}

#[test]
fn time_before_the_start_and_after_the_frontier_is_not_due() {
    let stretches = [stretch("verified", "02T05:00", "02T06:00", 1, 8)];
    let stream = stream("02T05:30", "02T05:50", &[("02T05:30", "02T05:50")]);
    let cells = second_of_march(&stream, &stretches, &[]);
    assert!(cells.iter().enumerate().all(|(hour, (kind, ..))| (*kind == Kind::Verified) == (hour == 5)), "{cells:?}");
}

#[test]
fn what_is_settled_and_not_even_planned_is_told_as_waiting() {
    let stretches = [stretch("verified", "02T05:00", "02T06:00", 1, 8)];
    let known = stream("02T05:00", "02T05:30", &[("02T05:00", "02T05:30")]);
    // The watermark stands at 05:00.
    let behind = |minutes: i64| StreamReport { lag_seconds: minutes * 60, state: "behind", ..known.clone() };
    let kinds = |stream: &StreamReport| -> Vec<Kind> {
        second_of_march(stream, &stretches, &[]).iter().map(|(kind, ..)| *kind).skip(5).take(4).collect()
    };
    assert_eq!(kinds(&behind(89)), [Kind::Verified, Kind::Outside, Kind::Outside, Kind::Outside], "between two polls");
    assert_eq!(kinds(&behind(150)), [Kind::Waiting, Kind::Waiting, Kind::Waiting, Kind::Outside]);
    let months = |stream: &StreamReport| Ground::of(stream, &stretches, [].iter()).months(at("02T08:00"));
    assert_eq!(months(&behind(89))[0].kind, Kind::Verified);
    assert_eq!((months(&behind(150))[0].kind, months(&behind(150))[0].proved), (Kind::Waiting, 0.2));
    // Polls may be hours apart, and a backfill may have read what is not planned.
    let seldom = StreamReport { state: "up to date", ..behind(150) };
    assert_eq!(kinds(&seldom), [Kind::Verified, Kind::Outside, Kind::Outside, Kind::Outside]);
    let mut filled = behind(150);
    filled.proved.push(Proved { stream: "support".into(), from_at: at("02T06:00"), to_at: at("02T07:00") });
    assert_eq!(kinds(&filled)[..2], [Kind::Waiting, Kind::Outside]);
}

#[test]
fn months_tell_how_much_of_what_is_due_is_proved() {
    let stream = stream("10T00:00", "20T00:00", &[("15T00:00", "20T00:00")]);
    let backfills = [backfill("10T00:00", "12T00:00")];
    let told = |backfills: &[Backfill]| Ground::of(&stream, &[], backfills.iter()).months(at("20T00:00"))[0];
    assert_eq!((told(&[]).kind, told(&[]).proved), (Kind::Waiting, 0.5));
    assert_eq!(told(&backfills).kind, Kind::Backfilling);
    let later = Ground::of(&stream, &[], backfills.iter()).months("2026-05-02T00:00:00Z".parse().expect("a time"));
    let months: Vec<_> = later.iter().map(|month| (month.first.to_string(), month.kind)).collect();
    let due = [("2026-03-01", Kind::Backfilling), ("2026-04-01", Kind::Outside), ("2026-05-01", Kind::Outside)];
    assert_eq!(months, due.map(|(month, kind)| (month.to_owned(), kind)));
}
