//! What goes over the wire, and how it may break.

use std::collections::HashSet;

use tokio_util::sync::CancellationToken;

use super::server::{Server, empty_page, line, raw};
use super::*;

#[tokio::test]
async fn requests_and_retries_are_counted_by_stream() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let server = Server::scripted([line(500, ""), line(429, ""), line(200, "<html>"), empty_page()]).await;
    Bench::with(&server).page(&first_page(5)).await.expect("a page");
    let text = handle.render();
    for sample in [
        r#"koresync_api_requests_total{stream="support",outcome="ok"} 1"#,
        r#"koresync_api_requests_total{stream="support",outcome="unavailable"} 2"#,
        r#"koresync_api_requests_total{stream="support",outcome="rate_limited"} 1"#,
        r#"koresync_api_retries_total{stream="support",reason="unavailable"} 2"#,
        r#"koresync_api_retries_total{stream="support",reason="rate_limited"} 1"#,
        r#"koresync_api_request_duration_seconds_count{stream="support"} 4"#,
    ] {
        assert!(text.contains(sample), "{sample} is not in {text}");
    }
}

#[tokio::test]
async fn a_wrong_clock_is_named_where_a_token_is_refused() {
    let (status, mut headers, body) = line(401, "");
    headers.push(("date", "Mon, 23 Mar 2026 11:05:43 GMT".to_owned()));
    let server = Server::scripted([(status, headers, body)]).await;
    let bench = Bench::with(&server);
    let error = bench.page(&first_page(5)).await.expect_err("refused").to_string();
    assert!(error.contains("clock is 47 min behind"), "{error}");
    bench.clock.advance(Duration::from_hours(1));
    let error = bench.page(&first_page(5)).await.expect_err("refused").to_string();
    assert!(error.contains("clock is 13 min ahead"), "{error}");
}

#[tokio::test]
async fn a_request_is_as_the_vendor_documents_it() {
    let server = Server::scripted([empty_page()]).await;
    Bench::with(&server).page(&first_page(5)).await.expect("a page");
    let asked = server.asked().remove(0);
    assert_eq!(asked.path_and_query, "/qualityai/api/v1/public/qualitymanagement/app/st-1/rawdata");
    let body = serde_json::json!({
        "offset": 0, "startDate": "2026-03-23 10:17:54", "endDate": "2026-03-23 23:00:35",
        "limit": 5, "page": 1, "include_below_threshold": true,
    });
    assert_eq!(asked.body, body);
    assert_eq!((asked.header("accountId"), asked.header("orgId")), ("account-1", "o-1"));
    assert_eq!((asked.header("content-type"), asked.header("accept-encoding")), ("application/json", "gzip"));
    assert_eq!(asked.header("user-agent"), "koresync/test");
    let claims = decode_claims(asked.header("auth")).expect("a raw token");
    assert_eq!(claims.app_id.as_deref(), Some("cs-1"));
}

#[tokio::test]
async fn the_threshold_flag_goes_where_it_is_configured_and_may_be_overridden() {
    let server = Server::scripted([empty_page()]).await;
    let in_query = Endpoint { include_below_threshold_in: Placement::Query, ..endpoint(&server.url) };
    let silent = Endpoint { include_below_threshold: None, ..endpoint(&server.url) };
    let without = PageRequest { include_below_threshold: Some(false), ..first_page(5) };
    Bench::new(in_query.clone(), inline()).page(&first_page(5)).await.expect("a page");
    Bench::new(in_query, inline()).page(&without).await.expect("a page");
    Bench::new(silent, inline()).page(&first_page(5)).await.expect("a page");
    Bench::with(&server).page(&without).await.expect("a page");
    let asked = server.asked();
    let query = |index: usize| asked[index].path_and_query.split_once('?').map(|(_, query)| query);
    let flag = |index: usize| asked[index].body.get("include_below_threshold").cloned();
    assert_eq!((query(0), flag(0)), (Some("include_below_threshold=true"), None));
    assert_eq!((query(1), flag(1)), (Some("include_below_threshold=false"), None));
    assert_eq!((query(2), flag(2)), (None, None));
    assert_eq!((query(3), flag(3)), (None, Some(false.into())));
}

#[tokio::test]
async fn every_attempt_has_a_token_of_its_own() {
    let server = Server::scripted([line(500, ""), line(500, ""), line(401, ""), empty_page()]).await;
    let bench = Bench::with(&server);
    assert_eq!(bench.page(&first_page(5)).await.expect("a page").attempts, 4);
    bench.page(&first_page(5)).await.expect("a page");
    let tokens: HashSet<String> = server.asked().iter().map(|asked| asked.header("auth").to_owned()).collect();
    assert_eq!(tokens.len(), 5);
    assert!(tokens.iter().all(|token| decode_claims(token).is_ok_and(|claims| claims.has_jti)));
}

#[tokio::test]
async fn a_ready_made_token_is_sent_as_it_is() {
    let server = Server::scripted([empty_page()]).await;
    let bench = Bench::new(endpoint(&server.url), Credentials::Token(SecretSource::inline(" ready.made.token \n")));
    bench.page(&first_page(5)).await.expect("a page");
    assert_eq!(server.asked()[0].header("auth"), "ready.made.token");
    assert_eq!(bench.client.token_claims().await.expect("a token"), None);
}

#[tokio::test]
async fn a_truncated_answer_is_never_a_short_page() {
    let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 28\r\nconnection: close\r\n\r\n{\"results\":[{\"a\":1},{\"a\":2}]";
    let cut_by_length = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"results\":[{\"a\":1}]}";
    let cut_chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n15\r\n{\"results\":[{\"a\":1}]}\r\n";
    for bytes in [&whole[..], &cut_by_length[..], &cut_chunks[..], b"", b"HTTP/1.1 200"] {
        let url = raw(vec![bytes], false).await;
        let bench = Bench::new(endpoint(&url), inline());
        let error = bench.client.page_once(&first_page(5), &bench.budget).await.expect_err("no page");
        assert!(matches!(error, ApiError::Unavailable { .. }), "{error}");
    }
    let good = b"HTTP/1.1 200 OK\r\ncontent-length: 21\r\nconnection: close\r\n\r\n{\"results\":[{\"a\":1}]}";
    let url = raw(vec![cut_chunks, good], false).await;
    let page = Bench::new(endpoint(&url), inline()).page(&first_page(5)).await.expect("a page");
    assert_eq!((page.attempts, page.records.len()), (2, 1));
}

#[tokio::test]
async fn a_refusal_whose_body_breaks_off_is_still_a_refusal() {
    let url = raw(vec![b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 99\r\n\r\n{\"err"], false).await;
    let error = Bench::new(endpoint(&url), inline()).page(&first_page(5)).await.expect_err("refused");
    assert!(matches!(error, ApiError::Refused { status: 401, .. }), "{error}");
}

#[tokio::test]
async fn a_stalled_answer_ends_at_the_read_and_at_the_total_deadline() {
    let stalled: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"results\":[";
    let (short, long) = (Duration::from_millis(60), Duration::from_mins(10));
    for (bytes, read, total) in [(stalled, short, long), (stalled, long, short), (b"", short, long), (b"", long, short)]
    {
        let url = raw(vec![bytes], true).await;
        let timeouts = Timeouts { read, total, ..Timeouts::default() };
        let bench = Bench::new(Endpoint { timeouts, ..endpoint(&url) }, inline());
        let error = bench.client.page_once(&first_page(5), &bench.budget).await.expect_err("no page");
        assert!(matches!(error, ApiError::Unavailable { outage: Outage::Timeout, .. }), "{error}");
    }
}

#[tokio::test]
async fn a_closed_port_is_an_outage_that_names_the_cause_and_no_address() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let endpoint = Endpoint { include_below_threshold_in: Placement::Query, ..endpoint(&url) };
    let error = Bench::new(endpoint, inline()).page(&first_page(5)).await.expect_err("no page");
    let text = format!("{error} {error:?}");
    assert!(matches!(error, ApiError::Unavailable { outage: Outage::Connect(_), .. }), "{text}");
    assert!(text.contains("refused") && !text.contains("include_below") && !text.contains("rawdata"), "{text}");
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_and_one_at_the_cap_is_read() {
    let body = br#"{"results":[{"a":1}]}"#;
    let server = Server::scripted([line(200, body.as_slice())]).await;
    let with_cap = |max_body_bytes| Bench::new(Endpoint { max_body_bytes, ..endpoint(&server.url) }, inline());
    with_cap(body.len() as u64).page(&first_page(5)).await.expect("a page");
    let bench = with_cap(body.len() as u64 - 1);
    let error = bench.page(&first_page(5)).await.expect_err("too large");
    assert!(matches!(error, ApiError::TooLarge { max_bytes: 20 }), "{error}");
    assert_eq!((error.remedy(), bench.budget.acquired()), (Remedy::LowerLimit, 1));
}

#[cfg(feature = "demo")]
mod compressed {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::super::server::Line;
    use super::*;
    use crate::api::http::{Failure, exchange};

    fn gzip(status: u16, write: impl FnOnce(&mut GzEncoder<Vec<u8>>)) -> Line {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        write(&mut encoder);
        (status, vec![("content-encoding", "gzip".to_owned())], encoder.finish().expect("compressed"))
    }

    /// Blanks: the size is the uncompressed one.
    fn bomb(status: u16, megabytes: usize) -> Line {
        let blank = vec![b' '; 1 << 20];
        gzip(status, |encoder| (0..megabytes).for_each(|_| encoder.write_all(&blank).expect("written")))
    }

    #[tokio::test]
    async fn a_compressed_page_is_read_and_a_broken_one_is_an_outage() {
        let good = gzip(200, |encoder| encoder.write_all(br#"{"results":[{"a":1}]}"#).expect("written"));
        let mut broken = good.clone();
        broken.2.truncate(good.2.len() - 9);
        let server = Server::scripted([broken, good]).await;
        let page = Bench::with(&server).page(&first_page(5)).await.expect("a page");
        assert_eq!((page.attempts, page.records.len()), (2, 1));
    }

    #[tokio::test]
    async fn a_bomb_is_left_alone_after_the_cap() {
        let bomb = bomb(200, 256);
        assert!(bomb.2.len() < 1 << 20, "a small answer: {} bytes", bomb.2.len());
        let server = Server::scripted([bomb]).await;
        let bench = Bench::with(&server);
        let error = bench.page(&first_page(5)).await.expect_err("too large");
        assert!(matches!(error, ApiError::TooLarge { .. }), "{error}");
        let request = reqwest::Client::builder().no_proxy().build().expect("a client").post(&server.url);
        let Err(Failure::TooLarge { held_bytes }) = exchange(request, (1 << 20, &LargeAnswers::default()), at(0)).await
        else {
            panic!("the cap was passed");
        };
        // No more than one piece of the decompressor beyond the cap.
        assert!(held_bytes <= (1 << 20) + (64 << 10), "{held_bytes} bytes were held");
    }

    #[tokio::test]
    async fn a_bomb_in_an_error_is_cut_and_the_status_counts() {
        let server = Server::scripted([bomb(401, 64)]).await;
        let error = Bench::with(&server).page(&first_page(5)).await.expect_err("refused");
        assert!(matches!(error, ApiError::Refused { status: 401, .. }), "{error}");
    }
}

#[tokio::test]
async fn a_stop_ends_a_request_in_flight() {
    let url = raw(vec![b""], true).await;
    let stop = CancellationToken::new();
    let bench = Bench::new(endpoint(&url), inline());
    let client = bench.client.stopped_by(stop.clone());
    let request = first_page(5);
    // Without the stop this would be an outage, at the read deadline.
    let (answered, ()) = tokio::join!(client.page_once(&request, &bench.budget), async { stop.cancel() });
    assert!(matches!(answered, Err(ApiError::Stopped)));
}

#[tokio::test]
async fn a_stop_ends_a_delay() {
    /// Whoever sleeps by it is stopped and never woken.
    #[derive(Debug)]
    struct Stopping(CancellationToken);
    impl Clock for Stopping {
        fn now(&self) -> DateTime<Utc> {
            at(0)
        }
        fn sleep(&self, _: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
            self.0.cancel();
            Box::pin(std::future::pending())
        }
    }
    let server = Server::scripted([line(500, "")]).await;
    let bench = Bench::with(&server);
    let stop = CancellationToken::new();
    let clock = Arc::new(Stopping(stop.clone()));
    let client = Client::new(endpoint(&server.url), inline(), clock, RetryPolicy::default(), 7).expect("a client");
    let answered = client.stopped_by(stop).page(&first_page(5), &bench.budget).await;
    assert!(matches!(answered, Err(ApiError::Stopped)));
}

#[tokio::test]
async fn a_command_without_a_database_waits_out_a_rate_limit() {
    let server = Server::scripted([line(429, ""), empty_page()]).await;
    let bench = Bench::with(&server);
    let page = bench.client.page(&first_page(5), &Unmetered::new(bench.clock.clone())).await.expect("a page");
    assert_eq!((page.attempts, bench.clock.passed()), (2, Duration::from_mins(1)));
}

#[tokio::test]
async fn a_budget_that_fails_is_told_apart_from_the_api() {
    #[derive(Debug)]
    struct Broken;
    impl Budget for Broken {
        fn acquire(&self) -> BoxFuture<'_, Result<(), BoxError>> {
            Box::pin(std::future::ready(Err("the database is away".into())))
        }
        fn refused(&self, _: Option<Duration>) -> BoxFuture<'_, Result<(), BoxError>> {
            Box::pin(std::future::ready(Ok(())))
        }
    }
    let server = Server::scripted([empty_page()]).await;
    let error = Bench::with(&server).client.page(&first_page(5), &Broken).await.expect_err("no budget");
    assert_eq!(error.remedy(), Remedy::Database);
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn secrets_are_in_no_text_of_client_or_error() {
    let echo =
        Server::judging(|asked| line(401, format!(r#"{{"message":"bad token {}"}}"#, asked.header("auth")))).await;
    let bench = Bench::with(&echo);
    let error = bench.page(&first_page(5)).await.expect_err("refused");
    let text = format!("{error} {error:?} {:?}", bench.client);
    assert!(!text.contains("hunter2") && !text.contains("eyJ"), "{text}");
    let broken = Bench::new(endpoint(&echo.url), Credentials::Token(SecretSource::inline("hunter2\nhunter2")));
    let error = broken.page(&first_page(5)).await.expect_err("no header");
    let text = format!("{error} {error:?} {:?}", broken.client);
    assert!(
        matches!(error, ApiError::Credentials(CredentialError::NotAHeader { .. })) && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn settings_that_no_request_can_be_made_with_are_named() {
    let make = |endpoint| {
        Client::new(endpoint, inline(), SteppedClock::new(), RetryPolicy::default(), 7).expect_err("refused")
    };
    let good = endpoint("https://platform.kore.ai/");
    assert_eq!(make(Endpoint { stream_id: " ".to_owned(), ..good.clone() }), SettingError::Empty("stream_id"));
    assert_eq!(make(Endpoint { org_id: String::new(), ..good.clone() }), SettingError::Empty("org_id"));
    assert_eq!(make(Endpoint { account_id: "a\nb".to_owned(), ..good.clone() }), SettingError::Header("account_id"));
    let odd = Endpoint { stream_id: "st/../1?x".to_owned(), path_prefix: String::new(), ..good };
    let url = odd.url().expect("an address");
    assert_eq!(url.as_str(), "https://platform.kore.ai/api/v1/public/qualitymanagement/app/st%2F..%2F1%3Fx/rawdata");
}
