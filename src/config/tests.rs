use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::domain::Settle;

const MINIMAL: &str = r#"
[api]
account_id = "a-1"
org_id = "o-1"
token = "hunter2"

[streams.support]
stream_id = "st-1"
start = "2026-01-01T00:00:00Z"
"#;

/// A loader with one file and these variables, and nothing of this machine.
fn loader(text: &str, variables: &[(&str, &str)]) -> (tempfile::TempDir, Loader) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("k.toml");
    std::fs::write(&file, text).expect("a file");
    let environment = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    (dir, Loader { file: Some(file), environment, ..Loader::default() })
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    loader(text, variables).1.load()
}

/// The one problem of MINIMAL with `extra` behind it, as text.
fn problem(extra: &str) -> String {
    let error = load(&format!("{MINIMAL}\n{extra}"), &[]).expect_err("a problem");
    assert_eq!(error.problems.len(), 1, "{error}");
    error.to_string()
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_defaults() {
    let text = format!("{MINIMAL}\n[log]\nlevel = \"warn\"\n[sync]\nlease = \"2m\"\nwindow = \"2h\"");
    let (_dir, mut loader) = loader(&text, &[("KORESYNC__LOG__LEVEL", "error"), ("KORESYNC__SYNC__LEASE", "3m")]);
    loader.overrides = vec![Override { flag: "-v", section: "log", key: "level", value: "debug".into() }];
    let settings = loader.load().expect("settings");
    assert_eq!(settings.log.level, "debug");
    assert_eq!(settings.sync.lease, Duration::from_mins(3));
    assert_eq!(settings.sync.window, Duration::from_hours(2));
    assert_eq!(settings.sync.poll_interval, Duration::from_mins(1));
}

#[test]
fn the_named_file_wins_over_the_variable_over_the_usual_places() {
    let dir = tempfile::tempdir().expect("a directory");
    let usual = dir.path().join("usual.toml");
    let mut loader = Loader { searched: vec![dir.path().join("absent.toml"), usual.clone()], ..Loader::default() };
    assert_eq!(loader.chosen_file(), None);
    std::fs::write(&usual, "").expect("a file");
    assert_eq!(loader.chosen_file(), Some(usual));
    loader.environment = vec![("KORESYNC_CONFIG".into(), "/by/variable".into())];
    assert_eq!(loader.chosen_file(), Some(PathBuf::from("/by/variable")));
    loader.file = Some("/by/flag".into());
    assert_eq!(loader.chosen_file(), Some(PathBuf::from("/by/flag")));
    assert!(loader.load().expect_err("no such file").to_string().contains("/by/flag"));
}

#[test]
fn the_environment_reaches_into_streams_and_makes_new_ones() {
    let text = format!("{MINIMAL}\n[streams.tele-sales]\nstream_id = \"st-2\"\nstart = \"2026-01-01T00:00:00Z\"");
    let settings = load(
        &text,
        &[
            ("KORESYNC__STREAMS__SUPPORT__STREAM_ID", "st-9"),
            ("KORESYNC__STREAMS__TELE_SALES__PAGE_SIZE", "7"),
            ("KORESYNC__STREAMS__NEW__STREAM_ID", "st-3"),
            ("KORESYNC__STREAMS__NEW__START", "2026-02-01T00:00:00+01:00"),
            ("KORESYNC__SYNC__RECHECK", "1m,2m"),
            ("KORESYNC__API__ORG_ID", ""),
        ],
    )
    .expect("settings");
    assert_eq!(settings.streams["support"].stream_id, "st-9");
    assert_eq!(settings.streams["tele-sales"].api.page_size, 7);
    assert_eq!(settings.streams["new"].start.to_rfc3339(), "2026-01-31T23:00:00+00:00");
    assert_eq!(settings.sync.recheck, [Duration::from_mins(1), Duration::from_mins(2)]);
    assert_eq!(settings.streams["support"].api.org_id, "o-1");
}

#[test]
fn everything_can_come_from_the_environment() {
    let variables = [
        ("KORESYNC__WAREHOUSE__URL", "postgres://u:hunter2@localhost/w"),
        ("KORESYNC__API__ACCOUNT_ID", "a-1"),
        ("KORESYNC__API__ORG_ID", "o-1"),
        ("KORESYNC__API__CLIENT_ID", "cs-1"),
        ("KORESYNC__API__CLIENT_SECRET", "hunter2"),
        ("KORESYNC__API__INCLUDE_BELOW_THRESHOLD", "false"),
        ("KORESYNC__STREAMS__S__STREAM_ID", "st-1"),
        ("KORESYNC__STREAMS__S__START", "2026-01-01T00:00:00Z"),
    ];
    let settings = load("", &variables).expect("settings");
    assert!(!settings.streams["s"].api.include_below_threshold);
    assert!(matches!(settings.streams["s"].api.credentials, Credentials::Signed { .. }));
}

#[test]
fn an_error_names_where_the_value_stands_what_it_is_and_what_is_right() {
    let text = problem("[sync]\npoll_interval = \"5 bananas\"");
    assert!(text.contains("k.toml:12: sync.poll_interval = \"5 bananas\": write a duration"), "{text}");
    let error = load(MINIMAL, &[("KORESYNC__SYNC__LEASE", "0s")]).expect_err("a problem").to_string();
    assert!(
        error.contains("$KORESYNC__SYNC__LEASE: sync.lease = \"0s\": write a duration in whole seconds from 1s"),
        "{error}"
    );
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    assert!(problem("[sync]\npol_interval = \"1m\"").contains("did you mean `poll_interval`?"));
    assert!(problem("[sink]\na = 1").contains("did you mean [sync]?"));
    assert!(problem("[server]\nlease = \"1m\"").contains("`sync.lease`"));
    assert!(problem("[\"a[99999999999].b\"]\nc = 1").contains("unknown section"));
    assert!(problem("[streams.support.deep]\na = 1").contains("streams.support.deep"));
    let error = load(MINIMAL, &[("KORESYNC__SYNC__POLL_INTERVALL", "1m")]).expect_err("a problem").to_string();
    assert!(error.contains("$KORESYNC__SYNC__POLL_INTERVALL") && error.contains("`poll_interval`"), "{error}");
}

#[test]
fn all_problems_are_told_together() {
    let error = load("[sync]\nlease = 3\nx = 1\n[api]\npage_size = 0\n[streams.s]\n", &[]).expect_err("problems");
    assert!(error.to_string().contains("k.toml:2: sync.lease = 3: "), "{error}");
    let keys: Vec<_> = error.problems.iter().map(|problem| problem.key.as_str()).collect();
    for key in
        ["sync.lease", "sync.x", "api.page_size", "streams.s.stream_id", "streams.s.start", "streams.s.account_id"]
    {
        assert!(keys.contains(&key), "{key} in {error}");
    }
}

#[test]
fn a_secret_and_its_file_are_not_given_together() {
    for (section, key) in [("warehouse", "url"), ("server", "token"), ("privacy", "key")] {
        let text = problem(&format!("[{section}]\n{key} = \"hunter2\"\n{key}_file = \"/x\""));
        assert!(text.contains(&format!("{section}.{key}")) && text.contains("one of the two"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let error = load(MINIMAL, &[("KORESYNC__API__TOKEN_FILE", "/x")]).expect_err("both");
    assert!(error.to_string().contains("$KORESYNC__API__TOKEN_FILE"), "{error}");
}

#[test]
fn no_error_and_no_debug_shows_a_secret() {
    let wrong = "[warehouse]\nurl = \"mysql://u:hunter2@h/d\"\n[api]\ntokn = \"hunter2\"\nclient_secret = 7\n[x]\ny = \"hunter2\"";
    let error = load(wrong, &[]).expect_err("problems");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    let unterminated = load("[api]\ntoken = \"hunter2\n", &[]).expect_err("a problem").to_string();
    assert!(!unterminated.contains("hunter2") && unterminated.contains("k.toml:2"), "{unterminated}");
    let settings =
        load(MINIMAL, &[("KORESYNC__WAREHOUSE__URL", "postgres://u:hunter2@localhost/w")]).expect("settings");
    let (_dir, loader) = loader(MINIMAL, &[("KORESYNC__API__TOKEN", "hunter2")]);
    let seen = format!("{settings:?} {} {:?} {loader:?}", settings.show(), settings.warehouse_connection());
    assert!(!seen.contains("hunter2"), "{seen}");
}

#[test]
fn show_is_toml_with_the_origin_of_each_value() {
    let settings = load(MINIMAL, &[("KORESYNC__SYNC__LEASE", "90s")]).expect("settings");
    let shown = settings.show();
    assert!(shown.parse::<toml::Table>().is_ok(), "{shown}");
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    assert!(line("lease").ends_with("# $KORESYNC__SYNC__LEASE") && line("lease").starts_with("lease = \"90s\""));
    assert!(line("poll_interval").ends_with("# default"));
    assert!(line("token").starts_with("token = \"(redacted)\""));
    assert!(line("stream_id").contains("k.toml:8"), "{shown}");
}

#[test]
fn the_sample_wants_nothing_but_its_placeholders_replaced() {
    let error = load(SAMPLE, &[]).expect_err("placeholders");
    assert!(error.problems.iter().all(|problem| problem.message.contains("placeholder")), "{error}");
    let settings = load(&SAMPLE.replace("REPLACE_ME", "x-1"), &[]).expect("settings");
    let defaults = load(MINIMAL, &[]).expect("settings");
    assert_eq!(settings.sync, defaults.sync);
    assert_eq!(settings.log, defaults.log);
}

#[test]
fn the_samples_commented_keys_are_known_and_hold_their_defaults() {
    let mut text = String::new();
    for line in SAMPLE.replace("REPLACE_ME", "x-1").lines() {
        let shown = line.strip_prefix("# ").filter(|rest| {
            rest.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|c| c.is_ascii_lowercase() || c == b'_'))
        });
        match shown {
            Some(rest) if !rest.contains("_file") => text.push_str(rest),
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    let settings = load(&text, &[]).expect("settings");
    let defaults = load(MINIMAL, &[]).expect("settings");
    assert_eq!(settings.sync, defaults.sync);
    assert_eq!(settings.server.listen, defaults.server.listen);
    let (a, b) = (&settings.streams["support"].api, &defaults.streams["support"].api);
    assert_eq!((&a.base_url, &a.path_prefix, a.page_size), (&b.base_url, &b.path_prefix, b.page_size));
    assert_eq!((&a.date_format, a.paging, a.max_body_bytes), (&b.date_format, b.paging, b.max_body_bytes));
    for entry in defaults.entries().iter().filter(|entry| entry.origin == "default") {
        assert!(text.contains(&format!("{} = ", entry.key)), "the sample lacks {}.{}", entry.section, entry.key);
    }
}

#[test]
fn every_rule_is_checked() {
    for (extra, told) in [
        ("[warehouse]\ntime_zone = \"Berlin\"", "IANA"),
        ("[warehouse]\nallow_insecure = \"maybe\"", "true or false"),
        ("[warehouse]\nurl = \"postgres://u@db/w?sslmode=disable\"", "verify-full"),
        ("[sync]\nsettle = \"-1s\"", "from 0s"),
        ("[sync]\nwindow = \"500ms\"", "whole seconds"),
        ("[sync]\nlease = \"999999d\"", "3650d"),
        ("[sync]\nrecheck = [\"1d\", \"1h\"]", "shortest to the longest"),
        ("[sync]\nrecheck = [\"1h\", \"1h\"]", "none twice"),
        ("[sync]\nrecheck = [\"0s\"]", "from 1s"),
        ("[sync]\nworkers = 0", "from 1 to 64"),
        ("[sync]\nmax_window_bytes = \"16 parsecs\"", "number of bytes"),
        ("[server]\nlisten = \"localhost\"", "IP address"),
        ("[server]\nactions = true", "actions need a token"),
        ("[privacy]\nagent_name = \"hash\"", "privacy.key: missing: agent_name is not \"keep\", so a key is needed"),
        ("[privacy]\nauditor_name = \"mask\"", "\"keep\" or \"hash\" or \"drop\""),
        ("[privacy]\nkey = \"hunter2\"", "16 characters or more"),
        ("[retention]\npayloads = \"1h\"", "or \"forever\""),
        ("[log]\nlevel = \"a=b=c\"", "write a level"),
        ("[log]\nformat = \"xml\"", "\"auto\" or \"text\" or \"json\""),
    ] {
        let text = problem(extra);
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn every_rule_of_a_stream_is_checked() {
    for (key, told) in [
        ("page_size = 1001", "from 1 to 1000"),
        ("page_size = 0", "from 1 to 1000"),
        ("requests_per_minute = 0", "from 1"),
        ("requests_per_minute = -5", "from 1"),
        ("base_url = \"http://platform.kore.ai\"", "https"),
        ("date_format = \"%Q\"", "strftime"),
        ("date_format = \"%Y-%m-%d\"", "to the second"),
        ("date_format = \"%Y-%m-%d %I:%M:%S\"", "to the second"),
        ("paging = \"cursor\"", "\"offset_as_pages\""),
        ("include_below_threshold_in = \"header\"", "\"query\""),
        ("max_body_bytes = 0", "bytes"),
        ("org_id = \"o 1\"", "letters"),
        ("client_secret = \"s\"", "client_id"),
        ("token_file = 7", "path of the file"),
    ] {
        let text = problem(key);
        assert!(text.contains("streams.support.") && text.contains(told), "{text}");
    }
}

#[test]
fn the_edges_of_the_ranges_are_allowed() {
    let text = "page_size = 1000\nrequests_per_minute = 1\nbase_url = \"http://127.0.0.1:1/\"\ndate_format = \"%Y-%m-%dT%H:%M:%S%.3fZ\"
        [sync]\nsettle = \"0s\"\nlease = \"1s\"\nrecheck = [\"1s\", \"2s\"]\nwindow = \"1s\"\npoll_interval = \"1s\"";
    let settings = load(&format!("{MINIMAL}{text}"), &[]).expect("settings");
    assert_eq!(settings.streams["support"].api.base_url, "http://127.0.0.1:1");
    assert_eq!(settings.sync.settle, Settle::Fixed(Duration::ZERO));
    let (_dir, auto) = loader(&format!("{MINIMAL}[sync]\nsettle = \"auto\"\n"), &[]);
    let settings = auto.load().expect("settings");
    assert_eq!(settings.sync.settle, Settle::Learned);
    assert!(settings.show().contains("settle = \"auto\""));
    assert!(load(&format!("{MINIMAL}[sync]\nrecheck = []"), &[]).expect("settings").sync.recheck.is_empty());
}

#[test]
fn stream_names_are_small_and_short() {
    for (name, fits) in [("a", true), ("a-b_9", true), ("A", false), ("a b", false), ("é", false), ("", false)] {
        let text = format!("{MINIMAL}\n[streams.\"{name}\"]\nstream_id = \"st-2\"\nstart = \"2026-01-01T00:00:00Z\"");
        assert_eq!(load(&text, &[]).is_ok(), fits, "{name:?}");
    }
    for (length, fits) in [(63, true), (64, false)] {
        let name = "a".repeat(length);
        let text = format!("{MINIMAL}\n[streams.{name}]\nstream_id = \"st-2\"\nstart = \"2026-01-01T00:00:00Z\"");
        assert_eq!(load(&text, &[]).is_ok(), fits);
    }
}

#[test]
fn a_start_needs_its_zone_and_a_day_of_the_calendar() {
    for start in ["2026-01-01", "2026-01-01T00:00:00", "yesterday", "1999-12-31T23:59:59Z", "2060-01-01T00:00:00Z"] {
        let text = MINIMAL.replace("2026-01-01T00:00:00Z", start);
        let error = load(&text, &[]).expect_err(start);
        assert_eq!((error.problems.len(), error.problems[0].key.as_str()), (1, "streams.support.start"), "{error}");
    }
    let bare = MINIMAL.replace("\"2026-01-01T00:00:00Z\"", "2026-01-01T00:00:00.75Z");
    assert_eq!(load(&bare, &[]).expect("settings").streams["support"].start.to_rfc3339(), "2026-01-01T00:00:00+00:00");
}

#[test]
fn a_stream_has_exactly_one_kind_of_credentials() {
    let token = "token = \"hunter2\"";
    let none = load(&MINIMAL.replace(token, ""), &[]).expect_err("no credentials");
    assert_eq!(none.problems[0].key, "streams.support.client_secret", "{none}");
    let both = load(&MINIMAL.replace(token, "token = \"t\"\nclient_id = \"c\"\nclient_secret = \"s\""), &[]);
    assert!(both.expect_err("both").to_string().contains("one of the two"));
    // The stream's own kind replaces that of [api].
    let own = load(&format!("{MINIMAL}client_id = \"c\"\nclient_secret = \"s\""), &[]).expect("settings");
    assert!(
        matches!(&own.streams["support"].api.credentials, Credentials::Signed { client_id, .. } if client_id == "c")
    );
}

#[test]
fn streams_of_one_account_share_one_budget() {
    let second = |account: &str| {
        format!(
            "{MINIMAL}\n[streams.sales]\nstream_id = \"st-2\"\nstart = \"2026-01-01T00:00:00Z\"\n\
             account_id = \"{account}\"\nrequests_per_minute = 30"
        )
    };
    let error = load(&second("a-1"), &[]).expect_err("two budgets").to_string();
    assert!(
        error.contains("a-1") && error.contains("30 in sales (/") && error.contains("60 in support (default)"),
        "{error}"
    );
    assert!(load(&second("a-2"), &[]).is_ok());
}

#[test]
fn tls_is_verified_unless_the_host_is_local_or_it_was_let_go() {
    let connection =
        |extra: &str| load(&format!("{MINIMAL}[warehouse]\n{extra}"), &[]).and_then(|s| s.warehouse_connection());
    assert!(connection("url = \"postgres://u@db/w\"").expect("a connection").verify_full);
    assert!(!connection("url = \"postgres://u@localhost/w\"").expect("a connection").verify_full);
    assert!(!connection("url = \"postgres://u@db/w\"\nallow_insecure = true").expect("a connection").verify_full);
    assert!(connection("").expect_err("no url").to_string().contains("KORESYNC__WAREHOUSE__URL"));
}

#[test]
fn a_secret_file_is_read_each_time_and_trimmed() {
    use secrecy::ExposeSecret as _;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("secret");
    let text = MINIMAL.replace("token = \"hunter2\"", &format!("token_file = \"{}\"", file.display()));
    let settings = load(&text, &[]).expect("settings");
    assert!(settings.check_secrets().expect_err("no file").to_string().contains("streams.support"));
    for secret in ["one", "two"] {
        std::fs::write(&file, format!("{secret}\n")).expect("a file");
        let read = settings.streams["support"].api.credentials.secret().read().expect("a secret");
        assert_eq!(read.expose_secret(), secret);
    }
    std::fs::write(&file, "\n").expect("a file");
    assert!(settings.check_secrets().is_err());
}

#[test]
fn a_run_needs_a_stream() {
    let settings = load("", &[]).expect("settings");
    assert!(settings.require_streams().is_err());
}

#[test]
fn a_starter_fills_the_sample() {
    let given = |text: &str| Some(text.to_owned());
    let starter = Starter {
        warehouse_url_file: given("/run/w"),
        account_id: given("a-1"),
        org_id: given("o-1"),
        token_file: given("/run/t"),
        stream: given("sales"),
        stream_id: given("st-1"),
        ..Starter::default()
    };
    let settings = load(&starter.render(), &[]).expect("settings");
    assert_eq!(settings.streams["sales"].stream_id, "st-1");
    assert!(matches!(settings.streams["sales"].api.credentials, Credentials::Token(_)));
    assert!(settings.warehouse.url.and_then(|url| url.file().map(ToOwned::to_owned)).is_some());
    assert_eq!(Starter::default().render(), SAMPLE);
}
