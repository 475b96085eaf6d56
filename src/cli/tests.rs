use std::ffi::OsString;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::*;
use crate::server;

fn exit_of(arguments: &[&str]) -> Exit {
    run(std::iter::once("koresync").chain(arguments.iter().copied()).map(OsString::from))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn wrong_usage_exits_2_and_help_exits_0() {
    for wrong in [&["--nonsense"][..], &["nonsense"], &[], &["config"], &["completions", "tcl"], &["-v", "-q", "man"]] {
        assert_eq!(exit_of(wrong), Exit::Usage, "{wrong:?}");
    }
    for right in [&["--help"][..], &["--version"], &["config", "show", "--help"]] {
        assert_eq!(exit_of(right), Exit::Done, "{right:?}");
    }
}

#[test]
fn global_options_stand_before_or_after_the_subcommand() {
    for arguments in [
        ["koresync", "--config", "x.toml", "--json", "-vv", "--log-format", "json", "config", "show"],
        ["koresync", "config", "show", "--log-format", "json", "-vv", "--json", "--config", "x.toml"],
    ] {
        let cli = Cli::try_parse_from(arguments).expect("arguments");
        assert_eq!(cli.global.config.as_deref(), Some(std::path::Path::new("x.toml")));
        assert!(cli.global.json);
        let values: Vec<_> = cli.global.overrides().into_iter().map(|given| given.value).collect();
        assert_eq!(values, ["json", "trace"]);
        let alone = cli.global.log_settings();
        assert_eq!((alone.level.as_str(), alone.format), ("trace", crate::config::LogFormat::Json));
    }
}

#[test]
fn a_faulty_configuration_exits_78() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("k.toml");
    let path = file.to_str().expect("a path");
    assert_eq!(exit_of(&["--config", path, "config", "show"]), Exit::Configuration);
    std::fs::write(&file, "[sync]\nlease = 0\n").expect("a file");
    assert_eq!(exit_of(&["config", "show", "--config", path]), Exit::Configuration);
    assert_eq!(exit_of(&["config", "validate", "--config", path, "--json"]), Exit::Configuration);
    std::fs::write(&file, "").expect("a file");
    assert_eq!(exit_of(&["config", "show", "--config", path]), Exit::Done);
    assert_eq!(exit_of(&["config", "validate", "--config", path]), Exit::Configuration);
}

#[test]
fn init_writes_what_validate_accepts_and_overwrites_only_when_forced() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, secret) = (dir.path().join("sub/k.toml"), dir.path().join("secret"));
    std::fs::write(&secret, "s").expect("a secret");
    let (path, secret) = (file.to_str().expect("a path"), secret.to_str().expect("a path"));
    let init = [
        "config",
        "init",
        "--output",
        path,
        "--stream",
        "sales",
        "--stream-id",
        "st-1",
        "--start",
        "2026-01-01T00:00:00Z",
        "--account-id",
        "a-1",
        "--org-id",
        "o-1",
        "--client-id",
        "cs-1",
        "--client-secret-file",
        secret,
        "--warehouse-url",
        "postgres://u@localhost/w",
    ];
    assert_eq!(exit_of(&init), Exit::Done);
    assert_eq!(exit_of(&["config", "validate", "--config", path]), Exit::Done);
    assert_eq!(exit_of(&init), Exit::Failed);
    assert_eq!(exit_of(&[&init[..], &["--force"]].concat()), Exit::Done);
    assert_eq!(exit_of(&["config", "init", "--force", "--output", path, "--stream", "No Name"]), Exit::Configuration);
}

#[test]
fn completions_and_manual_name_every_command() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
        assert!(completions::render(shell).contains("healthcheck"), "{shell}");
    }
    let manual = man::render().expect("a manual");
    assert!(manual.contains(".TH") && manual.contains("koresync\\-config\\-validate"), "{manual}");
}

#[tokio::test]
async fn healthcheck_follows_readyz() {
    let readiness = server::Readiness::awaiting(["database"]);
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
    let settings = Loader::default().load_text("test.toml", "").expect("settings");
    let board = crate::status::Board::new(Arc::new(settings), Arc::new(SystemClock));
    let bound = server::bind(([127, 0, 0, 1], 0).into(), readiness.clone(), None, metrics, board);
    let bound = bound.await.expect("a listener");
    let address = bound.address;
    let stopping = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(bound.run(stopping.clone()));
    let loader = Loader {
        environment: vec![("KORESYNC__SERVER__LISTEN".into(), address.to_string().into())],
        ..Loader::default()
    };
    let context = Context { global: Global::default(), loader, clock: Arc::new(SystemClock) };
    let ask = || healthcheck::execute(healthcheck::HealthcheckArgs { address: None }, &context);
    assert_eq!(ask().await.expect("an answer"), Exit::Failed);
    readiness.pass("database");
    assert_eq!(ask().await.expect("an answer"), Exit::Done);
    stopping.cancel();
    running.await.expect("a clean end");
    let error = ask().await.expect_err("nobody there");
    assert_eq!(exit::of(&error), Exit::Failed);
}

#[test]
fn a_backfill_needs_its_range_or_a_subcommand() {
    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        backfill: backfill::BackfillArgs,
    }
    let parse = |arguments: &[&str]| Only::try_parse_from(std::iter::once("x").chain(arguments.iter().copied()));
    let range = ["--stream", "s", "--from", "2026-01-01", "--to", "2026-02-01T00:00:00Z"];
    let filed = parse(&range).expect("a range").backfill.file;
    assert!(filed.from < filed.to && filed.stream.as_deref() == Some("s"));
    assert!(parse(&["list"]).is_ok() && parse(&["pause", "7"]).is_ok());
    assert!(parse(&range[..4]).is_err());
    assert!(parse(&[]).is_err());
    assert!(parse(&[&range[..], &["--window", "0s"]].concat()).is_err());
    assert!(parse(&[&range[..], &["--dry-run", "--detach"]].concat()).is_err());
}
