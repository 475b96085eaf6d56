//! What an operator waits for: the status page over ten streams with three years of windows each.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use koresync::config::Loader;
use koresync::domain::SystemClock;
use koresync::domain::clock::Clock as _;
use koresync::server::{self, Readiness};
use koresync::status::Board;
use koresync::warehouse::{ConnectOptions, Warehouse};
use metrics_exporter_prometheus::PrometheusBuilder;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::Bench;
use super::postgres::{Keys, statement};
use super::report::Samples;

const DATABASE: &str = "page";
/// Windows of an hour, all of them: a ledger is hardly longer, since windows grow to 25 pages and neighbours are merged. And as
/// many contacts as ten streams with 10,000 a day have in the last day, which a card counts.
const LEDGER: &str = "
    insert into koresync.streams (stream, account_id, stream_id, start_at, frontier, watermark, span_seconds, created_at)
    select 'stream-' || n, 'acc-1', 'st-' || n, date_trunc('hour', now()) - interval '3 years', date_trunc('hour', now()),
        date_trunc('hour', now()), 3600, now()
    from generate_series(1, 10) n;
    insert into koresync.windows (stream, lane, from_at, to_at, state, due_at, created_at, finished_at, rows, \"distinct\", repeated,
        in_window, inserted, changed, unchanged, quarantined, erased, requests, verified_by, verified_at, rung)
    select 'stream-' || n, 'live', h, h + interval '1 hour', 'verified', h, h, h, 417, 417, 0, 417, 417, 0, 0, 0, 0, 5, 'count', h, 4
    from generate_series(1, 10) n,
        generate_series(date_trunc('hour', now()) - interval '3 years', date_trunc('hour', now()) - interval '1 hour', interval '1 hour') h;
    insert into kore.contacts (contact_key, stream, conversation_id, started_at, started_on, evaluation_score, first_seen_at, updated_at)
    select gen_random_uuid(), 'stream-' || n % 10 + 1, n::text, now() - interval '1 day' * random(), now()::date, 50, now(), now()
    from generate_series(1, 100000) n;
    insert into koresync.api_budgets (account_id, requests_per_minute, next_slot_at) values ('acc-1', 60, now());
    insert into koresync.spending_by_minute
    select date_trunc('minute', now()) - m * interval '1 minute', 'stream-' || n, lane, 2
    from generate_series(0, 59) m, generate_series(1, 10) n, unnest(array['live', 'backfill', 'recheck']) lane";

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let cluster = &bench.cluster;
    cluster.fresh(DATABASE, Keys::Declared).await?;
    let mut connection = cluster.connect(DATABASE).await?;
    statement(&mut connection, LEDGER).await?;
    drop(connection);
    cluster.vacuum(DATABASE).await?;

    let mut text = "[api]\naccount_id = \"acc-1\"\norg_id = \"o-1\"\ntoken = \"t\"\n".to_owned();
    for n in 1..=10 {
        write!(text, "[streams.stream-{n}]\nstream_id = \"st-{n}\"\nstart = \"2023-01-01T00:00:00Z\"\n")?;
    }
    let settings = Arc::new(Loader::default().load_text("the bench's configuration", &text)?);
    let board = Board::new(settings, Arc::new(SystemClock));
    let options = ConnectOptions::new(&SecretString::from(cluster.daemon_url(DATABASE)), true, 4)?;
    let warehouse = Warehouse::new(&options, Arc::new(SystemClock), chrono_tz::UTC, Duration::from_mins(1));
    board.open(warehouse.clone());
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let bound = server::bind(([127, 0, 0, 1], 0).into(), Readiness::default(), None, metrics, board).await?;
    let (address, stopping) = (bound.address, CancellationToken::new());
    let serving = tokio::spawn(bound.run(stopping.clone()));

    let client = reqwest::Client::builder().no_proxy().build()?;
    let month = SystemClock.now().format("/streams/stream-1?month=2025-%m");
    let mut figures = Vec::new();
    for (words, path) in [("overview", "/".to_owned()), ("a month of a stream", month.to_string())] {
        let (mut milliseconds, mut again, mut kilobytes) = (Samples::default(), Samples::default(), Samples::default());
        for _ in 0..bench.settings.runs.max(2) {
            // What was seen lately is shown at once; longer ago than this, a look is waited for.
            tokio::time::sleep(Duration::from_secs(16)).await;
            for samples in [&mut milliseconds, &mut again] {
                let began = Instant::now();
                let page =
                    client.get(format!("http://{address}{path}")).send().await?.error_for_status()?.bytes().await?;
                samples.add(began.elapsed().as_secs_f64() * 1_000.0);
                ensure!(page.len() > 10_000, "{words}: {} bytes are no page", page.len());
                kilobytes.add(page.len() as f64 / 1_000.0);
            }
        }
        figures.push((format!("{words}, not seen for a while, ms"), milliseconds));
        figures.push((format!("{words}, ms"), again));
        figures.push((format!("{words}, kB"), kilobytes));
    }
    stopping.cancel();
    serving.await?;
    warehouse.close().await;
    cluster.remove(DATABASE).await?;

    let report = &mut bench.report;
    report.section("The status page: 10 streams, 3 years of windows of an hour, 10,000 contacts a day each");
    for (words, samples) in &figures {
        report.figure(words, samples);
    }
    report.note(
        "From the request to the last byte of the page. A daemon looks every ten seconds by itself, so nobody waits for a look but before its first.",
    );
    Ok(())
}
