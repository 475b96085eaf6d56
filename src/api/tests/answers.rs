//! What each answer of the vendor leads to.

use super::server::{Asked, Line, Server, empty_page, line};
use super::*;

const LIMIT_TEXT: &str = "You've exceeded the per-minute rate limit. Wait for sometime before retrying.";

fn with_header(line: Line, name: &'static str, value: impl Into<String>) -> Line {
    let (status, mut headers, body) = line;
    headers.push((name, value.into()));
    (status, headers, body)
}

#[tokio::test]
async fn a_page_is_cut_into_records_without_copying() {
    let body = r#"{"results": [ {"a":1.50} , {"b":"}]"} ],"totalResults":"11","hasMore":"true","totalPages":3.0}"#;
    let server = Server::scripted([line(200, body)]).await;
    let bench = Bench::with(&server);
    let page = bench.page(&first_page(2)).await.expect("a page");
    assert_eq!(page.records, [r#"{"a":1.50}"#, r#"{"b":"}]"}"#]);
    let held = page.body.as_ptr_range();
    assert!(page.records.iter().all(|record| held.contains(&record.as_ptr())));
    assert_eq!((page.total, page.has_more, page.total_pages, page.attempts), (Some(11), Some(true), Some(3), 1));
    assert!(page.date.is_some());
    assert!(!format!("{page:?}").contains("1.50"));
}

#[tokio::test]
async fn an_empty_list_is_a_page_and_a_missing_one_is_not() {
    let server =
        Server::scripted([line(200, r#"{"totalResults":0}"#), line(200, r#"{"results":null}"#), empty_page()]).await;
    let page = Bench::with(&server).page(&first_page(100)).await.expect("a page");
    assert_eq!((page.records.len(), page.attempts, page.total), (0, 3, Some(0)));
    assert!(Bench::with(&server).page(&first_page(100)).await.expect("a page").attempts == 1);
}

#[tokio::test]
async fn the_rate_limit_is_known_in_every_disguise() {
    let json = format!(r#"{{"errors":[{{"msg":"{LIMIT_TEXT}","code":429}}]}}"#);
    let html = format!("<html><body><h1>Sorry</h1><p>{}</p></body></html>", LIMIT_TEXT.to_uppercase());
    let beside_results = format!(r#"{{"results":[],"errors":[{{"msg":"{LIMIT_TEXT}"}}]}}"#);
    let top = format!(r#"{{"message":"{LIMIT_TEXT}"}}"#);
    let disguises = [
        line(429, ""),
        line(429, "<html>slow down</html>"),
        line(403, LIMIT_TEXT),
        line(400, json.clone()),
        line(200, json.clone()),
        line(200, LIMIT_TEXT),
        line(200, html.clone()),
        line(200, beside_results),
        line(200, top.clone()),
        line(503, html),
        line(401, json),
        line(500, top),
    ];
    for disguise in disguises {
        let told = format!("{} {}", disguise.0, String::from_utf8_lossy(&disguise.2));
        let server = Server::scripted([disguise, empty_page()]).await;
        let bench = Bench::with(&server);
        let page = bench.page(&first_page(100)).await.expect("a page");
        assert_eq!(page.attempts, 2, "{told}");
        assert_eq!(bench.budget.refusals(), [None], "{told}");
        assert_eq!(bench.budget.acquired(), 2, "{told}");
    }
}

#[tokio::test]
async fn a_conversation_about_the_rate_limit_is_a_page() {
    let body = format!(r#"{{"results":[{{"Conversation ID":"c-1","note":"{LIMIT_TEXT}"}}],"totalResults":1}}"#);
    let server = Server::scripted([line(200, body)]).await;
    let bench = Bench::with(&server);
    assert_eq!(bench.page(&first_page(100)).await.expect("a page").records.len(), 1);
    assert!(bench.budget.refusals().is_empty());
}

#[tokio::test]
async fn a_rate_limit_that_does_not_lift_ends_with_the_time_limit() {
    let server = Server::scripted([line(429, "")]).await;
    let bench = Bench::with(&server);
    let error = bench.page(&first_page(100)).await.expect_err("no page");
    assert!(matches!(error, ApiError::RateLimited { status: 429, .. }), "{error}");
    // A minute each: the attempt made after five minutes is the last.
    assert_eq!(bench.budget.refusals().len(), 6);
    assert_eq!(error.remedy(), Remedy::Wait);
}

#[tokio::test]
async fn retry_after_reaches_the_budget_in_both_forms() {
    let dated = with_header(line(429, ""), "date", "Sun, 06 Nov 1994 08:49:37 GMT");
    let server = Server::scripted([
        with_header(line(429, ""), "retry-after", "17"),
        with_header(dated, "retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"),
        with_header(line(200, LIMIT_TEXT), "retry-after", "86400"),
        empty_page(),
    ])
    .await;
    let bench = Bench::with(&server);
    bench.page(&first_page(100)).await.expect("a page");
    let seconds: Vec<Option<u64>> =
        bench.budget.refusals().iter().map(|wait| wait.map(|wait| wait.as_secs())).collect();
    assert_eq!(seconds, [Some(17), Some(30), Some(300)]);
}

#[tokio::test]
async fn a_failing_server_is_asked_again_after_the_time_it_names() {
    let server = Server::scripted([with_header(line(503, "busy"), "retry-after", "40"), empty_page()]).await;
    let bench = Bench::with(&server);
    assert_eq!(bench.page(&first_page(100)).await.expect("a page").attempts, 2);
    let passed = bench.clock.passed();
    assert!(passed >= Duration::from_secs(40) && passed <= Duration::from_millis(40_500), "{passed:?}");
    assert!(bench.budget.refusals().is_empty());
}

#[tokio::test]
async fn what_is_no_page_is_an_outage_that_is_retried_until_the_time_limit() {
    for (broken, word) in [
        (line(500, r#"{"errors":[{"msg":"boom"}]}"#), "boom"),
        (line(502, "<html>bad gateway</html>"), "502"),
        (line(200, "<html>maintenance</html>"), "HTML"),
        (line(200, "\u{feff}\n<!DOCTYPE html><p>sign in</p>"), "HTML"),
        (line(200, r#"{"errors":[{"msg":"boom","code":500}]}"#), "boom"),
        (line(200, r#"{"results":[],"errors":[{"msg":"boom"}]}"#), "boom"),
        (line(200, r#"{"totalResults":3}"#), "without a list"),
        (line(200, r#"{"results":{}}"#), "without a list"),
        (line(200, r#"{"results":[{"name":"Jane Roe"}],"totalRes"#), "no whole page"),
        (line(200, r#"[{"name":"Jane Roe"}]"#), "no whole page"),
        (line(200, "Jane Roe"), "no whole page"),
        (line(200, ""), "empty body"),
        (line(204, ""), "204"),
    ] {
        let server = Server::scripted([broken]).await;
        let bench = Bench::with(&server);
        let error = bench.page(&first_page(100)).await.expect_err("no page");
        let text = format!("{error} {error:?}");
        assert!(matches!(error, ApiError::Unavailable { .. }), "{text}");
        assert!(text.contains(word) && !text.contains("Jane"), "{text}");
        let passed = bench.clock.passed();
        assert!(passed <= Duration::from_mins(5) && passed > Duration::from_mins(4), "{passed:?}");
        assert!(bench.budget.acquired() > 10);
    }
}

#[tokio::test]
async fn a_refusal_is_tried_once_more_with_a_secret_read_again() {
    for refusal in [
        line(401, r#"{"errors":[{"msg":"Invalid SDK credentials","code":4002}]}"#),
        line(403, ""),
        line(400, r#"{"errors":[{"msg":"Invalid SDK credentials","code":4002}]}"#),
        line(200, r#"{"errors":[{"msg":"Invalid SDK credentials","code":"4002"}]}"#),
    ] {
        let server = Server::scripted([refusal]).await;
        let bench = Bench::with(&server);
        let error = bench.page(&first_page(100)).await.expect_err("refused");
        assert!(matches!(error, ApiError::Refused { .. }), "{error}");
        for cause in ["token or the client secret", "stream_id", "Quality Management Analytics"] {
            assert!(error.to_string().contains(cause), "{error}");
        }
        assert_eq!((server.asked().len(), bench.budget.acquired()), (2, 2));
        assert_eq!((bench.clock.passed(), error.remedy()), (Duration::ZERO, Remedy::Operator));
    }
}

#[tokio::test]
async fn a_secret_that_was_mended_in_its_file_is_used_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, "wrong\n").expect("written");
    let mended = path.clone();
    let server = Server::judging(move |asked: &Asked| {
        if is_signed_with(asked.header("auth"), b"right") {
            return empty_page();
        }
        std::fs::write(&mended, "right\n").expect("written");
        line(401, r#"{"errors":[{"code":4002}]}"#)
    })
    .await;
    let bench = Bench::new(endpoint(&server.url), file(&path));
    assert_eq!(bench.page(&first_page(100)).await.expect("a page").attempts, 2);
    assert_eq!(bench.page(&first_page(100)).await.expect("a page").attempts, 1);
}

#[tokio::test]
async fn a_paused_stream_learns_that_its_secret_has_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    let server =
        Server::judging(
            |asked| if is_signed_with(asked.header("auth"), b"right") { empty_page() } else { line(401, "") },
        )
        .await;
    let bench = Bench::new(endpoint(&server.url), file(&path));
    let missing = bench.page(&first_page(100)).await.expect_err("no secret");
    assert!(matches!(missing, ApiError::Credentials(CredentialError::Unreadable { .. })), "{missing}");
    assert!(server.asked().is_empty());
    std::fs::write(&path, "wrong").expect("written");
    assert!(bench.client.has_new_secret().await);
    assert!(matches!(bench.page(&first_page(100)).await, Err(ApiError::Refused { status: 401, .. })));
    assert!(!bench.client.has_new_secret().await);
    std::fs::write(&path, "right").expect("written");
    assert!(bench.client.has_new_secret().await);
    // The used secret is refused once, then the new one is read.
    assert_eq!(bench.page(&first_page(100)).await.expect("a page").attempts, 2);
}

fn is_signed_with(token: &str, secret: &[u8]) -> bool {
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.validate_exp = false;
    let key = jsonwebtoken::DecodingKey::from_secret(secret);
    jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation).is_ok()
}

#[tokio::test]
async fn a_bad_request_is_blamed_on_the_offset_then_the_limit_then_itself() {
    let bad = line(400, r#"{"errors":[{"msg":"limit must not exceed 100, said me@x.org","code":400}]}"#);
    let server = Server::scripted([bad]).await;
    let bench = Bench::with(&server);
    let error = bench.page(&first_page(500)).await.expect_err("refused");
    assert!(matches!(&error, ApiError::LimitRefused { limit: 500, status: 400, .. }), "{error}");
    assert_eq!(error.remedy(), Remedy::LowerLimit);
    assert!(error.to_string().contains("limit must not exceed 100, said […]"), "{error}");
    assert!(matches!(bench.page(&first_page(11)).await, Err(ApiError::LimitRefused { limit: 11, .. })));
    let error = bench.page(&first_page(10)).await.expect_err("refused");
    assert!(matches!(error, ApiError::BadArgument { .. }), "{error}");
    let second = PageRequest { offset: 500, ..first_page(500) };
    assert!(matches!(bench.page(&second).await, Err(ApiError::OffsetRefused { offset: 500, .. })));
    let second = PageRequest { page: 2, ..first_page(500) };
    assert!(matches!(bench.page(&second).await, Err(ApiError::OffsetRefused { page: 2, .. })));
    assert_eq!(server.asked().len(), 5, "none is asked again");
}

#[tokio::test]
async fn an_address_that_is_not_the_apis_is_told_and_no_redirect_is_followed() {
    let other = Server::scripted([empty_page()]).await;
    let moved = with_header(line(302, ""), "location", other.url.clone());
    let server = Server::scripted([moved, line(404, "<html>no such page</html>")]).await;
    let bench = Bench::with(&server);
    for status in [302, 404] {
        let error = bench.page(&first_page(100)).await.expect_err("no page");
        assert!(matches!(error, ApiError::Undocumented { status: got, .. } if got == status), "{error}");
        assert!(error.to_string().contains("base_url"), "{error}");
    }
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn asking_once_does_not_ask_again() {
    let server = Server::scripted([line(503, ""), line(401, ""), line(429, ""), empty_page()]).await;
    let bench = Bench::with(&server);
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        let answered = bench.client.page_once(&first_page(1), &bench.budget).await;
        outcomes.push(answered.map_or_else(|error| error.label(), |_| "ok"));
    }
    assert_eq!(outcomes, ["unavailable", "refused", "rate_limited", "ok"]);
    assert_eq!((server.asked().len(), bench.budget.refusals().len()), (4, 1));
}
