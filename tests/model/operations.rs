//! What befalls the engine and the vendor: a random sequence of these is a test.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use koresync::domain::Window;
use koresync::faults::Point;
use koresync::sync::{Mode, Outcome, rebuild, requeue};
use koresync::warehouse::WarehouseError;
use koresync::warehouse::backfills::Verb;
use koresync::warehouse::load::requeue::Selection;
use koresync::warehouse::rebuilds::RebuildScope;
use proptest::prelude::*;
use proptest::sample::select;

use crate::judge::Memory;
use crate::postgres::TestDatabase;
use crate::site::{LEASE, POLL, Ran, SETTLE, STREAM, Site};
use crate::vendor::{Fault, Habits};
use crate::world::Change;

#[derive(Debug, Clone)]
pub enum Operation {
    /// So many minutes pass.
    Pass(u32),
    Sync,
    /// Contacts that started so many minutes ago, each one so many seconds long.
    Add(Vec<(u32, u32)>),
    Change(usize, Change),
    /// These befall the next requests.
    Fail(Vec<Fault>),
    /// The engine dies the n-th time that it crosses a point; its lease ends meanwhile.
    Crash(Point, u32),
    /// The engine stands still while a contact changes, its lease ends and another one does its work; then it goes on.
    Freeze(Point, u32, usize),
    /// Two engines at once.
    Two,
    /// From so many hours ago on, for so many hours.
    File(u32, u32),
    Steer(Verb),
    /// Rows are damaged and made anew.
    Rebuild,
    RetryQuarantine,
}

/// All that a sequence begins with, and what it does.
#[derive(Debug, Clone)]
pub struct Sequence {
    pub is_end_inclusive: bool,
    pub is_descending: bool,
    pub workers: usize,
    pub operations: Vec<Operation>,
}

fn operation() -> impl Strategy<Value = Operation> {
    let changes =
        [Change::Content, Change::Score, Change::Drift, Change::Remove, Change::Return, Change::Malform, Change::Heal];
    let faults = [
        Fault::Http500,
        Fault::RateLimited,
        Fault::Html,
        Fault::Cut,
        Fault::Slid,
        Fault::Swap,
        Fault::Insert,
        Fault::Slid,
        Fault::Swap,
    ];
    let minutes = prop_oneof![4 => 1_u32..90, 2 => 60_u32..26 * 60, 1 => 24 * 60_u32..9 * 24 * 60];
    let added = prop::collection::vec((1_u32..3 * 24 * 60, 5_u32..7_200), 1..12);
    prop_oneof![
        4 => minutes.prop_map(Operation::Pass),
        6 => Just(Operation::Sync),
        4 => added.prop_map(Operation::Add),
        7 => (any::<usize>(), select(changes.to_vec())).prop_map(|(n, change)| Operation::Change(n, change)),
        3 => prop::collection::vec(select(faults.to_vec()), 1..6).prop_map(Operation::Fail),
        2 => (select([&Point::OF_A_WINDOW[..], &Point::OF_A_BACKFILL].concat()), 0_u32..6).prop_map(|(point, n)| Operation::Crash(point, n)),
        2 => (select(vec![Point::Claimed, Point::PageRead]), 0_u32..6, any::<usize>())
            .prop_map(|(point, n, contact)| Operation::Freeze(point, n, contact)),
        1 => Just(Operation::Two),
        1 => (1_u32..100, 1_u32..100).prop_map(|(ago, length)| Operation::File(ago, length)),
        1 => select(vec![Verb::Pause, Verb::Resume, Verb::Cancel, Verb::Retry]).prop_map(Operation::Steer),
        1 => Just(Operation::Rebuild),
        1 => Just(Operation::RetryQuarantine),
    ]
}

pub fn sequence() -> impl Strategy<Value = Sequence> {
    let first = prop::collection::vec((1_u32..3 * 24 * 60, 5_u32..7_200), 5..40).prop_map(Operation::Add);
    let operations = prop::collection::vec(operation(), 4..16);
    (any::<bool>(), any::<bool>(), select(vec![1_usize, 3]), first, operations).prop_map(
        |(is_end_inclusive, is_descending, workers, first, operations)| Sequence {
            is_end_inclusive,
            is_descending,
            workers,
            operations: std::iter::once(first).chain(operations).collect(),
        },
    )
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_end_inclusive, is_descending, workers, operations } = self;
        writeln!(f, "end inclusive: {is_end_inclusive}, descending: {is_descending}, workers: {workers}")?;
        operations.iter().try_for_each(|operation| writeln!(f, "  {operation:?}"))
    }
}

impl Sequence {
    /// Does it all on an empty warehouse, and panics where the model does not agree.
    pub async fn run(&self, database: &TestDatabase) {
        let start = "2026-03-01T00:00:00Z".parse().expect("a time");
        let habits = Habits { is_end_inclusive: self.is_end_inclusive, is_descending: self.is_descending };
        let site = Arc::new(Site::new(database, start, habits, self.workers).await);
        let mut memory = Memory::default();
        for operation in &self.operations {
            // What is done at one moment is told apart by a second.
            site.clock.pass(TimeDelta::seconds(1));
            Box::pin(operation.run(&site, &mut memory)).await;
            site.clock.pass(TimeDelta::seconds(1));
            memory.judge(&site).await;
            memory.rest(&site);
        }
        come_to_rest(&site, &mut memory).await;
        site.pool.close().await;
    }
}

impl Operation {
    async fn run(&self, site: &Arc<Site>, memory: &mut Memory) {
        let (vendor, clock) = (&site.vendor, &site.clock);
        let now = (clock.millis(), clock.millis());
        match self {
            Self::Pass(minutes) => clock.pass(TimeDelta::minutes(i64::from(*minutes))),
            Self::Sync => sync(site).await,
            Self::Add(contacts) => vendor.with(|world| {
                for (minutes, seconds) in contacts {
                    let start = (now.0 - i64::from(*minutes) * 60_000 - 137).max(site.start.timestamp_millis() + 1);
                    world.add(start, i64::from(*seconds) * 1_000, now);
                }
            }),
            Self::Change(contact, change) => {
                vendor.with(|world| world.change(*contact, *change, now));
            }
            Self::Fail(faults) => vendor.fail(faults.iter().copied()),
            Self::Crash(point, nth) => {
                vendor.begins_to_be_looked_at();
                if let Ran::Frozen(frozen) = site.run(Mode::Once, Some((*point, *nth))).await {
                    site.kill(frozen).await;
                    clock.pass(TimeDelta::from_std(LEASE).expect("hours") + TimeDelta::seconds(1));
                }
                vendor.is_looked_at_no_more();
            }
            Self::Freeze(point, nth, contact) => {
                vendor.begins_to_be_looked_at();
                let ran = site.run(Mode::Once, Some((*point, *nth))).await;
                vendor.is_looked_at_no_more();
                if let Ran::Frozen(frozen) = ran {
                    clock.pass(TimeDelta::seconds(1));
                    memory.judge(site).await;
                    let moment = (clock.millis(), clock.millis());
                    vendor.with(|world| world.change(*contact, Change::Content, moment));
                    clock.pass(TimeDelta::from_std(LEASE).expect("hours") + TimeDelta::seconds(1));
                    site.end_idle_transactions().await;
                    sync(site).await;
                    clock.pass(TimeDelta::seconds(1));
                    memory.judge(site).await;
                    vendor.begins_to_be_looked_at();
                    let outcome = site.thaw(frozen).await;
                    vendor.is_looked_at_no_more();
                    assert_over(site, &Ran::To(outcome)).await;
                }
            }
            Self::Two => {
                vendor.begins_to_be_looked_at();
                let (one, other) = tokio::join!(site.run(Mode::Once, None), site.run(Mode::Once, None));
                vendor.is_looked_at_no_more();
                for ran in [one, other] {
                    assert_over(site, &ran).await;
                }
            }
            Self::File(ago, length) => {
                let from = site.now() - TimeDelta::hours(i64::from(*ago));
                let from = koresync::domain::window::floor_to_second(from.max(site.start));
                let to = from + TimeDelta::hours(i64::from(*length));
                let to = to.min(koresync::domain::window::floor_to_second(site.now() - SETTLE));
                if let Some(range) = Window::new(from, to)
                    && is_known(site).await
                {
                    site.warehouse().file_backfill(STREAM, range, None).await.expect("a backfill");
                }
            }
            Self::Steer(verb) => {
                let warehouse = site.warehouse();
                for backfill in warehouse.backfills().await.expect("the backfills") {
                    // What its state does not allow is refused, and changes nothing.
                    match warehouse.steer_backfill(backfill.id, *verb).await {
                        Ok(_) => break,
                        Err(WarehouseError::NotFound(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Self::Rebuild => {
                sqlx::raw_sql(DAMAGE).execute(&site.pool).await.expect("damage");
                let warehouse = site.warehouse();
                let id = rebuild::file(&warehouse, &RebuildScope::default()).await.expect("a rebuild");
                warehouse.hold_rebuild(id, "model").await.expect("nobody else");
                while rebuild::step(&warehouse, id, "model", None).await.expect("a step") {}
            }
            Self::RetryQuarantine => {
                requeue::retry(&site.warehouse(), &Selection::default(), |_| true).await.expect("an end");
            }
        }
    }
}

const DAMAGE: &str = "set session_replication_role = replica; \
    update kore.contacts set language = 'spoilt' where contact_key::text ~ '[0-5]$'; \
    delete from kore.contact_topics where contact_key::text ~ '[4-9]$'; \
    update kore.contact_metrics set weight = 9999 where contact_key::text ~ '[a-f]$'; \
    set session_replication_role = origin";

async fn is_known(site: &Site) -> bool {
    let streams: i64 =
        sqlx::query_scalar("select count(*) from koresync.streams").fetch_one(&site.pool).await.expect("a count");
    streams > 0
}

async fn sync(site: &Arc<Site>) {
    site.vendor.begins_to_be_looked_at();
    let ran = site.run(Mode::Once, None).await;
    site.vendor.is_looked_at_no_more();
    assert_over(site, &ran).await;
}

/// All is done; or all but what an operator cancelled or paused.
async fn assert_over(site: &Site, ran: &Ran) {
    let left = "select count(*) from koresync.backfills where state in ('cancelled', 'paused')";
    let left: i64 = sqlx::query_scalar(left).fetch_one(&site.pool).await.expect("a count");
    let is_over = match ran {
        Ran::To(Outcome::Done) => true,
        Ran::To(Outcome::Partly(_)) => left > 0,
        _ => false,
    };
    assert!(is_over, "{ran:?}");
}

/// Faults are over: within two intervals nothing lags behind; and once all is read again, all is equal.
async fn come_to_rest(site: &Arc<Site>, memory: &mut Memory) {
    site.vendor.fail_no_more();
    let warehouse = site.warehouse();
    for backfill in warehouse.open_backfills().await.expect("the backfills") {
        if backfill.state == "paused" {
            warehouse.steer_backfill(backfill.id, Verb::Resume).await.expect("a backfill that goes on");
        }
    }
    // A dead engine's leases.
    site.clock.pass(TimeDelta::from_std(LEASE).expect("hours") + TimeDelta::seconds(1));
    sync(site).await;
    site.clock.pass(POLL);
    let began = site.now();
    sync(site).await;
    memory.judge(site).await;
    let state = warehouse.stream_state(STREAM).await.expect("the stream");
    let lag = began - SETTLE - state.frontier;
    assert!(lag <= POLL * 2, "it lags {lag} behind");
    // What was cancelled is nobody's any more; everything is read once more, in the order of a backfill.
    let range = Window::new(site.start, state.frontier).expect("a range");
    let id = warehouse.file_backfill(STREAM, range, Some(TimeDelta::days(7))).await.expect("a backfill");
    site.vendor.begins_to_be_looked_at();
    let ran = site.run(Mode::Backfill(id), None).await;
    assert!(matches!(ran, Ran::To(Outcome::Done)), "{ran:?}");
    site.vendor.is_looked_at_no_more();
    site.clock.pass(TimeDelta::seconds(1));
    memory.judge(site).await;
    memory.judge_past(site).await;
    let state = warehouse.stream_state(STREAM).await.expect("the stream");
    assert_eq!(state.watermark, state.frontier, "something is not verified");
    let open: i64 = sqlx::query_scalar(
        "select count(*) from koresync.windows where state not in ('verified', 'cancelled') or owner is not null",
    )
    .fetch_one(&site.pool)
    .await
    .expect("a count");
    assert_eq!(open, 0, "windows that are not closed");
    warehouse.close().await;
}

/// How long a sequence may take, of real time.
pub const LONGEST: Duration = Duration::from_mins(3);

/// A warehouse that holds so many contacts of one window, and was judged.
async fn filled(database: &TestDatabase, contacts: u32) -> (Arc<Site>, Memory) {
    let start = "2026-03-01T00:00:00Z".parse().expect("a time");
    let habits = Habits { is_end_inclusive: false, is_descending: false };
    let site = Arc::new(Site::new(database, start, habits, 1).await);
    let mut memory = Memory::default();
    // Two days ago; and one that goes on at the end of what is settled, which shows by what time the vendor filters.
    let added = (0..contacts).map(|i| (2_900 - 10 * i, 60)).chain([(16, 7_200)]).collect();
    for operation in [Operation::Add(added), Operation::Sync] {
        step(&site, &mut memory, &operation).await;
    }
    (site, memory)
}

async fn step(site: &Arc<Site>, memory: &mut Memory, operation: &Operation) {
    site.clock.pass(TimeDelta::seconds(1));
    Box::pin(operation.run(site, memory)).await;
    site.clock.pass(TimeDelta::seconds(1));
    memory.judge(site).await;
}

/// Files a backfill from so many hours after the start on.
async fn file(site: &Site, hours: i64) -> i64 {
    let (from, to) = (site.start + TimeDelta::hours(hours), site.start + TimeDelta::hours(71));
    let range = Window::new(from, to).expect("a range");
    site.warehouse().file_backfill(STREAM, range, Some(TimeDelta::days(7))).await.expect("a backfill")
}

/// Two backfills over the same contacts: the one that read first writes last.
pub async fn older_beside_newer(database: &TestDatabase) {
    let (site, mut memory) = Box::pin(filled(database, 3)).await;
    step(&site, &mut memory, &Operation::Change(0, Change::Content)).await;
    let earlier = file(&site, 0).await;
    // A page is in hand, and what it shows is of this moment.
    let ran = site.run(Mode::Backfill(earlier), Some((Point::PageRead, 0))).await;
    let Ran::Frozen(frozen) = ran else { panic!("it did not stand still: {ran:?}") };
    step(&site, &mut memory, &Operation::Change(0, Change::Content)).await;
    let later = file(&site, 1).await;
    let ran = site.run(Mode::Backfill(later), None).await;
    assert!(matches!(ran, Ran::To(Outcome::Done)), "{ran:?}");
    site.clock.pass(TimeDelta::seconds(1));
    memory.judge(&site).await;
    assert_eq!(site.thaw(frozen).await, Outcome::Done);
    memory.judge(&site).await;
    site.pool.close().await;
}

/// While the pages of a range are read one contact goes and another one comes: the total stays, and one slides through.
pub async fn slid_through(database: &TestDatabase) {
    let (site, mut memory) = Box::pin(filled(database, 10)).await;
    let filter: Option<String> = sqlx::query_scalar("select filter_field from koresync.streams")
        .fetch_one(&site.pool)
        .await
        .expect("the stream");
    assert_eq!(filter.as_deref(), Some("start"), "nobody's absence would be concluded");
    let again = file(&site, 0).await;
    site.clock.pass(TimeDelta::seconds(1));
    site.vendor.fail([Fault::Swap]);
    site.vendor.begins_to_be_looked_at();
    let ran = site.run(Mode::Backfill(again), None).await;
    assert!(matches!(ran, Ran::To(Outcome::Done)), "{ran:?}");
    site.vendor.is_looked_at_no_more();
    site.clock.pass(TimeDelta::seconds(1));
    assert!(site.vendor.with(|world| world.may_deceive(site.clock.millis() - 1_000)), "nothing went and came");
    memory.judge(&site).await;
    let removed: Vec<String> =
        sqlx::query_scalar("select conversation_id from kore.contacts where removed_at is not null")
            .fetch_all(&site.pool)
            .await
            .expect("the removed");
    // The one that went was read before.
    assert!(removed.is_empty(), "{removed:?} are called removed");
    site.pool.close().await;
}
