use std::collections::BTreeMap;

use super::cost::{Demand, SPARE_SHARE, WEEK, carried, pass};
use super::*;

const MINUTE: TimeDelta = TimeDelta::minutes(1);
const HOUR: TimeDelta = TimeDelta::hours(1);
const DAY: TimeDelta = TimeDelta::days(1);

fn rule() -> Rule {
    Rule::new(&[1, 24, 7 * 24, 30 * 24].map(Duration::from_hours))
}

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(minutes * 60, 0).expect("a time")
}

fn closed((from, to): (i64, i64), rung: i16, due: i64, contacts: i64) -> Closed {
    Closed { from_at: at(from), to_at: at(to), rung, due_at: at(due), is_quiet: false, contacts }
}

const FILL: Fill = Fill { page: 100, most: 2_500 };

fn spans(proposals: &[Proposal]) -> Vec<(i64, i64)> {
    proposals.iter().map(|p| (p.window.from.timestamp() / 60, p.window.to.timestamp() / 60)).collect()
}

#[test]
fn rungs_count_from_the_first_proof_and_one_read_answers_all_that_are_past() {
    let first = at(0);
    assert_eq!(rule().next(first, first), (1, Some(first + HOUR)));
    assert_eq!(
        rule().next(first, first + HOUR - MINUTE),
        (1, Some(first + HOUR)),
        "a read before the rung answers nothing"
    );
    assert_eq!(rule().next(first, first + HOUR), (2, Some(first + DAY)), "a read at the rung answers it");
    assert_eq!(rule().next(first, first + DAY * 8), (4, Some(first + DAY * 30)), "one read answers three rungs");
    assert_eq!(rule().next(first, first + DAY * 30), (5, None));
    assert_eq!(Rule::new(&[]).next(first, first), (1, None));
}

#[test]
fn a_quiet_window_is_due_a_quarter_of_its_rung_later() {
    assert_eq!(rule().due(2, at(0), false), at(0));
    assert_eq!(rule().due(2, at(0), true), at(0) + HOUR * 6);
}

#[test]
fn what_is_due_waits_for_a_full_window_or_a_quarter_of_its_rung() {
    let polls: Vec<Closed> = (0..20).map(|m| closed((m, m + 1), 1, 100 + m, 5)).collect();
    assert!(rule().propose(polls.clone(), at(114), FILL, false).is_empty(), "nobody has waited for 15 minutes");
    // 100 contacts are a page and what it has no room for: that waits on.
    assert_eq!(spans(&rule().propose(polls.clone(), at(115), FILL, false)), [(0, 19)]);
    assert_eq!(
        spans(&rule().propose(polls.clone(), at(100), FILL, true)),
        [(0, 20)],
        "what is to end waits for nothing"
    );
    assert!(rule().propose(polls, at(99), FILL, true).is_empty(), "nothing is due");
    let busy: Vec<Closed> = (0..20).map(|m| closed((m, m + 1), 1, 100, 250)).collect();
    // 9 windows are 2,250: 23 pages with room for late ones; a tenth would be past a whole window.
    assert_eq!(spans(&rule().propose(busy, at(101), FILL, false)), [(0, 8), (8, 16)]);
}

#[test]
fn a_window_that_has_waited_is_never_left_for_the_next_read() {
    let late: Vec<Closed> = (0..20).map(|m| closed((m, m + 1), 1, 100, 5)).collect();
    assert_eq!(spans(&rule().propose(late, at(115), FILL, false)), [(0, 20)]);
}

#[test]
fn only_neighbours_of_one_rung_are_read_together_and_lower_rungs_come_first() {
    let ripe = vec![
        closed((0, 10), 2, 100, 5),
        closed((10, 20), 2, 101, 5),
        closed((20, 30), 1, 102, 5),
        closed((40, 50), 2, 90, 5),
    ];
    let proposals = rule().propose(ripe, at(1_000), FILL, false);
    assert_eq!(spans(&proposals), [(20, 30), (40, 50), (0, 20)]);
}

#[test]
fn a_ripe_neighbour_goes_along_and_a_range_without_anything_due_waits() {
    let mut quiet = closed((10, 20), 2, 2_000, 5);
    quiet.is_quiet = true;
    let ripe = vec![closed((0, 10), 2, 100, 5), quiet, closed((20, 30), 2, 100, 5)];
    assert_eq!(spans(&rule().propose(ripe, at(1_000), FILL, false)), [(0, 30)]);
    assert!(rule().propose(vec![quiet], at(1_000), FILL, false).is_empty());
    // A full stretch that is not due hides nothing behind it.
    let full = (0..5).map(|m| closed((m * 10, m * 10 + 10), 2, 5_000, 1_000));
    let ripe: Vec<Closed> = full.chain([closed((50, 60), 2, 100, 5)]).collect();
    assert_eq!(spans(&rule().propose(ripe, at(1_000), FILL, false)), [(40, 60)]);
}

#[test]
fn no_read_is_longer_than_seven_days() {
    let day = 24 * 60;
    let ripe: Vec<Closed> = (0..10).map(|d| closed((d * day, (d + 1) * day), 4, 0, 0)).collect();
    let proposals = rule().propose(ripe.clone(), at(60 * day), FILL, false);
    assert_eq!(spans(&proposals), [(0, 7 * day), (7 * day, 10 * day)]);
    assert_eq!(round(&ripe, FILL).map(Window::length), Some(DAY * 7));
    let apart = [closed((0, 10), 5, 0, 1), closed((11, 20), 5, 0, 1)];
    assert_eq!(round(&apart, FILL).map(Window::length), Some(MINUTE * 10));
    assert_eq!(round(&[], FILL), None);
}

#[test]
fn the_budget_gives_up_later_rungs_first_and_never_the_first() {
    let demand = |contacts_per_day| Demand { contacts_per_day, poll: MINUTE, fill: FILL };
    let of = |streams: usize, contacts, per_minute: f64| {
        carried(&rule(), &vec![demand(contacts); streams], per_minute * 1_440.0)
    };
    assert_eq!(of(1, 10_000.0, 60.0), 4);
    assert_eq!(of(10, 100_000.0, 60.0), 4);
    assert_eq!(of(30, 100_000.0, 60.0), 1);
    let by_budget: Vec<usize> = [10.0, 20.0, 22.0, 24.0, 30.0].map(|rate| of(10, 10_000.0, rate)).to_vec();
    assert!(by_budget.is_sorted(), "{by_budget:?}");
    assert_eq!(of(10, 10_000.0, 1.0), 1, "the first is never given up");
    assert_eq!(carried(&Rule::new(&[]), &[], 1.0), 0);
}

#[test]
fn the_round_takes_a_week_or_what_its_share_allows() {
    assert_eq!(pass(0, 100, 60.0), WEEK);
    // 10,000 a day over three years: 109,500 pages at 6 a minute.
    assert_eq!(pass(10_950_000, 100, 60.0).num_days(), 12);
}

/// Lives through days of a steady stream by the rule itself: polls of a minute, each window read again as proposed.
/// Returns the requests of each rung on the last day.
fn live_through(contacts_per_day: i64, days: i64) -> Vec<f64> {
    let rule = rule();
    let mut windows: BTreeMap<i64, (Closed, DateTime<Utc>)> = BTreeMap::new();
    let mut spent = vec![0.0; rule.rungs().len()];
    let until = |minute: i64| contacts_per_day * minute / 1_440;
    for minute in 0..days * 1_440 {
        let now = at(minute);
        let fresh = closed((minute - 1, minute), 1, minute + 60, until(minute) - until(minute - 1));
        windows.insert(minute - 1, (fresh, now));
        let ripe: Vec<Closed> = windows.values().map(|(w, _)| *w).filter(|w| w.due_at <= now).collect();
        for proposal in rule.propose(ripe, now, FILL, false) {
            let inside: Vec<i64> = windows
                .range(proposal.window.from.timestamp() / 60..proposal.window.to.timestamp() / 60)
                .map(|(key, _)| *key)
                .collect();
            let first =
                inside.iter().filter_map(|key| windows.remove(key)).map(|(_, first)| first).max().expect("windows");
            let (rung, due) = rule.next(first, now);
            if minute >= (days - 1) * 1_440 {
                spent[usize::try_from(proposal.rung - 1).expect("a rung")] +=
                    proposal.contacts.div_ceil(100).max(1) as f64;
            }
            let merged = Closed {
                from_at: proposal.window.from,
                to_at: proposal.window.to,
                rung,
                due_at: due.unwrap_or(DateTime::<Utc>::MAX_UTC),
                is_quiet: false,
                contacts: i64::try_from(proposal.contacts).expect("a count"),
            };
            windows.insert(proposal.window.from.timestamp() / 60, (merged, first));
        }
    }
    spent
}

#[test]
fn the_ledger_keeps_rungs_in_seconds() {
    let rule = Rule::new(&[Duration::from_hours(1), Duration::from_hours(24)]);
    assert_eq!(rule.seconds(), [3_600, 86_400]);
}

#[test]
fn a_poll_that_finds_several_pages_costs_them_all() {
    let fill = Fill { page: 100, most: 2_500 };
    // A minute brings 694 contacts, which are seven pages.
    let dense = Demand { contacts_per_day: 1_000_000.0, poll: TimeDelta::minutes(1), fill };
    assert!((dense.live() - 1_440.0 * 7.0).abs() < 1e-6, "{}", dense.live());
}

/// A row of the table in ARCHITECTURE.md.
fn row(streams: u32, contacts: u32) -> String {
    const YEARS: f64 = 3.0;
    let budget = 60.0 * 1_440.0;
    let contacts_per_day = f64::from(contacts);
    let demand = Demand { contacts_per_day, poll: MINUTE, fill: FILL };
    let rungs = demand.rungs(&rule());
    let of_all = |one: f64| one * f64::from(streams);
    // 156 weeks of three years, each counted once a week.
    let counts = of_all(YEARS * 365.0 / 7.0 / 7.0);
    let history = of_all(contacts_per_day * YEARS * 365.0);
    let round_days = pass(u64::from(streams) * u64::from(contacts) * 3 * 365, 100, 60.0).as_seconds_f64() / 86_400.0;
    let round = history / 100.0 / round_days;
    let carried = carried(&rule(), &vec![demand; streams as usize], budget);
    let sum = of_all(rungs.iter().take(carried).sum::<f64>()) + counts + round;
    let each: Vec<String> = rungs.iter().map(|cost| format!("{:.0}", of_all(*cost))).collect();
    format!(
        "| {streams} × {contacts_per_day:.0} | {:.0} | {} | {counts:.0} | {round:.0} | {round_days:.0} days | {:.1} % | {carried} of 4 |",
        of_all(demand.live()),
        each.join(" | "),
        sum / budget * 100.0,
    )
}

#[test]
fn the_written_cost_is_that_of_the_rule_and_a_fifth_of_the_budget_at_most() {
    let written = include_str!("../../../ARCHITECTURE.md");
    for streams in [1, 10] {
        for contacts in [1_000, 10_000, 100_000] {
            let row = row(streams, contacts);
            assert!(written.contains(&row), "ARCHITECTURE.md lacks the row\n{row}");
        }
    }
    for streams in [1_u32, 10] {
        let demand = Demand { contacts_per_day: 10_000.0, poll: MINUTE, fill: FILL };
        let rungs = demand.rungs(&rule()).iter().sum::<f64>() * f64::from(streams);
        let share = rungs / (60.0 * 1_440.0) + SPARE_SHARE;
        assert!(share <= 0.2, "{streams} streams take {share} of the budget");
    }
}

#[test]
fn what_the_rule_does_costs_what_its_arithmetic_says() {
    for (contacts, days) in [(1_000_u32, 12), (10_000, 12), (100_000, 3)] {
        let lived = live_through(i64::from(contacts), days);
        let contacts_per_day = f64::from(contacts);
        let told = Demand { contacts_per_day, poll: MINUTE, fill: FILL }.rungs(&rule());
        for (rung, (lived, told)) in lived.iter().zip(&told).enumerate().filter(|(_, (lived, _))| **lived > 0.0) {
            let is_near = (lived - told).abs() <= told * 0.15 + 4.0;
            assert!(is_near, "{contacts_per_day} a day, rung {}: {lived} requests a day, {told} told", rung + 1);
        }
        assert!(lived[0] > 0.0 && lived[1] > 0.0, "{lived:?}");
    }
}
