//! Faults as a client meets them.

use super::*;

#[tokio::test]
async fn faults_of_requests_answer_as_they_are_named() {
    let world = World::new(options()).await;
    for (fault, status) in [
        (Fault::RateLimited, 429),
        (Fault::RateLimited429, 429),
        (Fault::RateLimited403, 403),
        (Fault::RateLimited400, 400),
        (Fault::RateLimited503, 503),
        (Fault::RateLimited200, 200),
        (Fault::Http500, 500),
        (Fault::Http503, 503),
        (Fault::Html200, 200),
    ] {
        world.vendor.set_fault(fault, 1.0).expect("a probability");
        let response = world.send(&ask(0, 1, 10)).await.expect("an answer");
        assert_eq!(response.status(), status, "{fault}");
        assert!(!response.text().await.expect("a body").contains("results"), "{fault}");
        assert_eq!(world.vendor.stats().requests["st-1"][&fault.to_string()], 1);
        world.vendor.set_fault(fault, 0.0).expect("a probability");
    }
    assert_eq!(rows(&world.page(&ask(0, 1, 10)).await).len(), 10);
}

#[tokio::test]
async fn a_reset_gives_no_answer_and_the_next_request_does() {
    let world = World::faulty(&[(Fault::Reset, 1.0)]).await;
    assert!(world.send(&ask(0, 1, 10)).await.is_err());
    world.vendor.set_fault(Fault::Reset, 0.0).expect("a probability");
    assert_eq!(rows(&world.page(&ask(0, 1, 10)).await).len(), 10);
}

#[tokio::test]
async fn a_truncated_body_is_never_a_whole_page() {
    let world = World::faulty(&[(Fault::Truncated, 1.0)]).await;
    let (mut broken, mut cut) = (0, 0);
    for _ in 0..30 {
        let outcome = match world.send(&ask(0, 1, 10)).await {
            Ok(response) => response.text().await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(text) => {
                cut += 1;
                assert!(serde_json::from_str::<Value>(&text).is_err());
            }
            Err(_) => broken += 1,
        }
    }
    assert!(broken > 5 && cut > 2, "{broken} broken, {cut} cut");
}

#[tokio::test]
async fn a_stalled_answer_comes_after_its_time_of_the_clock() {
    let world = World::faulty(&[(Fault::Stall, 1.0)]).await;
    let before = world.clock.now();
    assert_eq!(rows(&world.page(&ask(0, 1, 10)).await).len(), 10);
    assert_eq!(world.clock.now() - before, TimeDelta::minutes(2));
}

#[tokio::test]
async fn pages_can_repeat_slide_shuffle_and_grow() {
    let plain = World::new(options()).await;
    let first = ids(&rows(&plain.page(&ask(0, 1, 20)).await));
    let second = ids(&rows(&plain.page(&ask(20, 2, 20)).await));

    let world = World::faulty(&[(Fault::Duplicated, 1.0)]).await;
    let page = ids(&rows(&world.page(&ask(0, 1, 20)).await));
    assert_eq!((page.len(), page.iter().collect::<HashSet<_>>().len()), (21, 20));

    let world = World::faulty(&[(Fault::Slid, 1.0)]).await;
    let page = ids(&rows(&world.page(&ask(20, 2, 20)).await));
    assert_eq!((&page[0], &page[1..]), (&first[19], &second[1..]));

    let world = World::faulty(&[(Fault::Shuffled, 1.0)]).await;
    let page = ids(&rows(&world.page(&ask(0, 1, 20)).await));
    assert_ne!(page, first);
    assert_eq!(page.iter().collect::<BTreeSet<_>>(), first.iter().collect::<BTreeSet<_>>());

    let world = World::faulty(&[(Fault::InsertWhilePaging, 1.0)]).await;
    let page = world.page(&ask(0, 1, 20)).await;
    assert_eq!((page["totalResults"].as_u64(), ids(&rows(&page))[..19].to_vec()), (Some(299), first[1..].to_vec()));
    let next = world.page(&ask(20, 2, 20)).await;
    assert_eq!((next["totalResults"].as_u64(), ids(&rows(&next))), (Some(300), second.clone()));

    let world = World::faulty(&[(Fault::SwapWhilePaging, 1.0)]).await;
    let page = world.page(&ask(0, 1, 20)).await;
    assert_eq!((page["totalResults"].as_u64(), ids(&rows(&page))), (Some(299), first));
    let next = world.page(&ask(20, 2, 20)).await;
    assert_eq!((next["totalResults"].as_u64(), ids(&rows(&next))[..19].to_vec()), (Some(299), second[1..].to_vec()));
}

#[tokio::test]
async fn late_and_vanished_contacts_come_and_go_and_the_oracle_knows() {
    let world = World::faulty(&[(Fault::Late, 0.3), (Fault::Vanished, 0.3)]).await;
    let mut counts = Vec::new();
    for _ in 0..20 {
        let rows = world.everything().await;
        assert_eq!(rows.len() as u64, world.expect().tables["contacts"].rows);
        counts.push(rows.len());
        world.clock.pass(TimeDelta::hours(12));
    }
    assert!(counts.windows(2).any(|pair| pair[0] < pair[1]), "{counts:?}");
    assert!(counts.windows(2).any(|pair| pair[0] > pair[1]), "{counts:?}");
}

#[tokio::test]
async fn scores_come_later_and_contents_change() {
    let scored = |rows: &[Value]| {
        let is_number = |row: &&Value| field(row, "Kore Evaluation Score").is_some_and(Value::is_number);
        rows.iter().filter(is_number).count()
    };
    let world = World::faulty(&[(Fault::ScoredLater, 1.0)]).await;
    let before = scored(&world.everything().await);
    world.clock.pass(TimeDelta::days(4));
    let after = scored(&world.everything().await);
    assert!(before < 100 && after > 220, "{before} then {after}");

    let world = World::faulty(&[(Fault::Changed, 0.5)]).await;
    let (early, expected_early) = (world.everything().await, world.expect());
    world.clock.pass(TimeDelta::days(8));
    let (late, expected_late) = (world.everything().await, world.expect());
    let changed = early.iter().zip(&late).filter(|(a, b)| a != b).count();
    assert!((100..200).contains(&changed), "{changed}");
    assert_eq!(ids(&early), ids(&late));
    assert_ne!(expected_early.tables["contacts"].checksum, expected_late.tables["contacts"].checksum);
}

#[tokio::test]
async fn drifted_records_mean_the_same() {
    let plain = World::new(options()).await;
    let drifted = World::faulty(&[(Fault::Drifted, 1.0)]).await;
    assert_eq!(plain.expect(), drifted.expect());
    let text = drifted.text(&ask(0, 1, 100)).await;
    serde_json::from_str::<Value>(&text).expect("JSON all the same");
    assert!(text.contains("modelVersion") && !plain.text(&ask(0, 1, 100)).await.contains("modelVersion"));
}

#[tokio::test]
async fn malformed_records_are_quarantined_or_mended() {
    let world = World::faulty(&[(Fault::Malformed, 0.5)]).await;
    let expected = world.expect();
    assert!((15..60).contains(&expected.quarantined), "{}", expected.quarantined);
    assert_eq!(expected.tables["contacts"].rows + expected.quarantined, 300);
    let mut all = String::new();
    for offset in [0, 100, 200] {
        all += &world.text(&ask(offset, 1, 100)).await;
    }
    for dirt in
        [":NaN", "1e400", "\\ud800r", "\\u0000", "2026-02-30", "{\"label\"", "99999999999999999999", "\"yesterday\""]
    {
        assert!(all.contains(dirt), "{dirt}");
    }
}

#[tokio::test]
async fn a_repeated_id_is_listed_twice_and_held_once() {
    let world = World::faulty(&[(Fault::RepeatedIds, 0.2)]).await;
    let rows = world.everything().await;
    let expected = world.expect();
    let distinct: HashSet<String> = ids(&rows).into_iter().collect();
    assert_eq!((distinct.len(), rows.len() as u64), (300, expected.listed));
    assert_eq!(expected.tables["contacts"].rows, 300);
    assert!((335..390).contains(&rows.len()), "{}", rows.len());
    let plain = World::new(options()).await;
    assert_eq!(plain.expect().tables, expected.tables);
}

#[tokio::test]
async fn stopping_does_not_wait_for_what_is_held_back() {
    let options = Options { stall_for: Duration::from_hours(1), ..options() };
    let clock = Arc::new(crate::domain::SystemClock);
    let vendor = start(options, clock).await.expect("a vendor");
    vendor.set_fault(Fault::Stall, 1.0).expect("a probability");
    let clock = Arc::new(StoppedClock(Mutex::new(end())));
    let world = World { clock, vendor, client: reqwest::Client::new() };
    let body = ask(0, 1, 10);
    let mut held_back = Box::pin(world.send(&body));
    while !world.vendor.stats().requests.get("st-1").is_some_and(|outcomes| outcomes.contains_key("stall")) {
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut held_back).await.is_err(), "it is held back");
    }
    drop(held_back);
    world.vendor.stop().await.expect("an orderly stop");
}
