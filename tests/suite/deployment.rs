//! What is in deploy/ fits the program: its configurations, its credentials, its metrics, its time to stop, and the README.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use koresync::simulate::{self, Fault, FaultRate};

use crate::support::mirror::population;
use crate::support::postgres::TestDatabase;
use crate::support::process::{LOOK, Program};
use crate::support::site::Site;

const SOON: Duration = Duration::from_mins(1);
/// Within it the program ends by itself after a signal.
const STOPPED_WITHIN: u64 = 10;

/// A configuration that is delivered, and where its secrets are.
const CONFIGURATIONS: [(&str, &str); 3] = [
    ("deploy/systemd/koresync.toml", "/run/credentials/koresync.service"),
    ("deploy/kubernetes/base/foundation/koresync.toml", "/run/secrets/koresync"),
    ("deploy/container/koresync.toml", "/nowhere"),
];
const SECRETS: [(&str, &str); 2] =
    [("warehouse-url", "postgres://koresync:p@db.example.com/warehouse\n"), ("kore-client-secret", "a-secret\n")];

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn text(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Runs `config validate` on a file that is delivered, filled in, with its secrets in another folder. Gives what it told.
fn validate(file: &str, secrets: &str, folder: &Path) -> (Option<i32>, String) {
    let filled = text(file).replace("REPLACE_ME", "x-1").replace(secrets, &folder.display().to_string());
    let configuration = folder.join("koresync.toml");
    std::fs::write(&configuration, filled).expect("a configuration");
    let mut command = Command::new(env!("CARGO_BIN_EXE_koresync"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KORESYNC_")) {
        command.env_remove(name);
    }
    let output = command.arg("--config").arg(&configuration).args(["config", "validate"]).output().expect("an end");
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(told).expect("UTF-8"))
}

#[test]
fn the_configurations_are_valid_with_secrets_as_services_get_them() {
    for (file, secrets) in CONFIGURATIONS {
        for mode in [0o400, 0o440] {
            let folder = tempfile::tempdir().expect("a folder");
            for (name, value) in SECRETS {
                let secret = folder.path().join(name);
                std::fs::write(&secret, value).expect("a secret");
                std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).expect("a mode");
            }
            let (exit, told) = validate(file, secrets, folder.path());
            assert_eq!(exit, Some(0), "{file}: {told}");
            assert!(told.contains("nothing wrong") && !told.contains("chmod"), "{file} with {mode:o}: {told}");
        }
    }
}

#[test]
fn each_missing_secret_is_told_once() {
    for (file, secrets) in &CONFIGURATIONS[..2] {
        let folder = tempfile::tempdir().expect("a folder");
        let (exit, told) = validate(file, secrets, folder.path());
        assert_eq!(exit, Some(78), "{told}");
        for (name, _) in SECRETS {
            assert_eq!(told.matches(&format!("/{name}:")).count(), 1, "{name} of {file}: {told}");
        }
    }
}

/// The values of `key` + something up to the end of the line, comments left out.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(key)).map(str::trim).collect()
}

#[test]
fn units_and_pods_hand_over_the_secrets_that_their_configuration_names() {
    let unit = text("deploy/systemd/koresync.service");
    let loaded = values(&unit, "LoadCredential=");
    let named: Vec<String> =
        SECRETS.iter().map(|(name, _)| format!("{name}:/etc/koresync/credentials/{name}")).collect();
    assert_eq!(loaded, named);
    let configuration = text(CONFIGURATIONS[0].0);
    for (name, _) in SECRETS {
        assert!(configuration.contains(&format!("\"{}/{name}\"", CONFIGURATIONS[0].1)), "{name}");
    }
    for pod in ["base/deployment.yaml", "overlays/backfill/job.yaml"] {
        let pod = text(&format!("deploy/kubernetes/{pod}"));
        assert!(values(&pod, "mountPath:").contains(&CONFIGURATIONS[1].1), "{pod}");
        assert!(values(&pod, "defaultMode:").iter().all(|mode| *mode == "0440"), "{pod}");
    }
    let migrate = text("deploy/kubernetes/overlays/migrate/job.yaml");
    let owner = values(&migrate, "value:")[0];
    assert!(values(&migrate, "mountPath:").iter().any(|mount| owner.starts_with(mount)), "{owner}");
}

#[test]
fn whoever_stops_it_waits_for_longer_than_it_takes() {
    let unit = text("deploy/systemd/koresync.service");
    let mut waits: Vec<u64> = values(&unit, "TimeoutStopSec=")
        .iter()
        .map(|wait| wait.trim_end_matches('s').parse().expect("seconds"))
        .collect();
    for pod in ["base/deployment.yaml", "overlays/migrate/job.yaml", "overlays/backfill/job.yaml"] {
        let pod = text(&format!("deploy/kubernetes/{pod}"));
        waits.extend(
            values(&pod, "terminationGracePeriodSeconds:").iter().map(|wait| wait.parse::<u64>().expect("seconds")),
        );
    }
    let compose = text("deploy/container/compose.yaml");
    waits.extend(
        values(&compose, "stop_grace_period:")
            .iter()
            .map(|wait| wait.trim_end_matches('s').parse::<u64>().expect("seconds")),
    );
    assert_eq!(waits.len(), 5);
    assert!(waits.iter().all(|wait| *wait > STOPPED_WITHIN), "{waits:?}");
}

/// The name of each alert, and the lines that belong to it.
fn alerts(rules: &str) -> BTreeMap<String, String> {
    rules
        .split("- alert: ")
        .skip(1)
        .map(|alert| {
            let (name, rest) = alert.split_once('\n').expect("a line");
            (name.trim().to_owned(), rest.to_owned())
        })
        .collect()
}

#[test]
fn every_alert_has_a_severity_an_entry_in_the_runbook_and_a_test_of_both_kinds() {
    let (rules, readme) = (text("deploy/prometheus/koresync.rules.yaml"), text("README.md"));
    let tests: String = std::fs::read_dir(path("deploy/prometheus/tests"))
        .expect("the tests of the rules")
        .map(|test| std::fs::read_to_string(test.expect("an entry").path()).expect("a test"))
        .collect();
    let alerts = alerts(&rules);
    assert!(alerts.len() > 10, "{alerts:?}");
    let (_, runbook) = readme.split_once("\n## Runbook\n").expect("a runbook");
    for (name, alert) in &alerts {
        assert_eq!(values(alert, "runbook:"), [format!("README.md#{}", name.to_lowercase())], "{name}");
        assert!(runbook.contains(&format!("\n#### {name}\n")), "{name} has no entry in the runbook");
        let severity = values(alert, "severity:");
        assert!(["critical", "warning", "info"].contains(&severity[0]), "{name}: {severity:?}");
        let cases: Vec<&str> = tests.split("  - name: ").filter(|case| values(case, "alertname:") == [name]).collect();
        let (silent, firing): (Vec<&str>, Vec<&str>) =
            cases.into_iter().partition(|case| case.contains("exp_alerts: []"));
        assert!(!silent.is_empty() && !firing.is_empty(), "{name} is not tested both firing and silent");
    }
    for heading in values(runbook, "#### Koresync") {
        assert!(alerts.contains_key(&format!("Koresync{heading}")), "no alert is called Koresync{heading}");
    }
    for code in [1, 2, 3, 69, 75, 77, 78] {
        assert!(runbook.contains(&format!("\n| {code} | ")), "exit {code} has no entry in the runbook");
    }
}

#[test]
fn the_operator_of_prometheus_gets_the_same_rules() {
    let rules = text("deploy/prometheus/koresync.rules.yaml");
    let groups = &rules[rules.find("groups:").expect("groups")..];
    let resource = text("deploy/kubernetes/overlays/monitoring/prometheusrule.yaml");
    let (_, spec) = resource.split_once("spec:\n").expect("a spec");
    let spec: Vec<&str> = spec.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
    assert_eq!(spec, groups.lines().collect::<Vec<_>>());
}

/// A metric that a rule asks for, with the labels that it goes by.
fn asked(rules: &str) -> Vec<(String, Vec<String>)> {
    let expressions: String =
        rules.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let mut asked = Vec::new();
    let mut before = expressions.as_str();
    while let Some(at) = before.find("koresync_") {
        let (lead, rest) = before.split_at(at);
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let selected =
            after.strip_prefix('{').and_then(|labels| labels.split_once('}')).map_or("", |(labels, _)| labels);
        let selected = selected.split(',').filter_map(|pair| pair.split_once(['=', '!'])).map(|(label, _)| label);
        let grouped = lead.rsplit_once("by (").and_then(|(_, list)| list.split_once(')')).map_or("", |(list, _)| list);
        let of_scraping = ["job", "namespace", "instance"];
        let labels = selected.chain(grouped.split(',')).map(|label| label.trim().to_owned());
        let labels = labels.filter(|label| !label.is_empty() && !of_scraping.contains(&label.as_str())).collect();
        asked.push((name.to_owned(), labels));
        before = after;
    }
    asked
}

/// What is asked for, and is not to be had.
fn lacking(asked: &[(String, Vec<String>)], metrics: &str) -> Vec<String> {
    let is_told = |(name, labels): &&(String, Vec<String>)| {
        let is_described = metrics.contains(&format!("# HELP {name} "));
        let mut samples = values(metrics, name).into_iter();
        is_described && samples.any(|sample| labels.iter().all(|label| sample.contains(&format!("{label}=\""))))
    };
    asked.iter().filter(|metric| !is_told(metric)).map(|(name, labels)| format!("{name} {labels:?}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_has_every_metric_and_label_that_an_alert_asks_for() {
    let asked = asked(&text("deploy/prometheus/koresync.rules.yaml"));
    assert!(asked.len() > 15, "{asked:?}");
    let database = TestDatabase::create().await;
    let fault = |fault| FaultRate { fault, probability: 0.2 };
    let faults = vec![fault(Fault::Drifted), fault(Fault::Malformed)];
    let options =
        simulate::Options { contacts: 300, days: 2, faults, client_secret: None, client_id: None, ..population() };
    let mut site = Site::start(database.url(), options).await;
    // A ready-made token that ends: {"exp":"1774261123.9"}. A signed one is told by no metric.
    site.streams[0].overrides = "token = \"eyJhbGciOiJub25lIn0.eyJleHAiOiIxNzc0MjYxMTIzLjkifQ.x\"".to_owned();
    let program = Program::new(&site.configuration());
    let mut daemon = program.spawn(&["run"]);
    let began = Instant::now();
    loop {
        let metrics = daemon.page("/metrics").await;
        let lacking = lacking(&asked, &metrics);
        if lacking.is_empty() {
            break;
        }
        assert!(began.elapsed() < SOON, "the daemon does not tell {lacking:?}:\n{metrics}");
        tokio::time::sleep(LOOK * 20).await;
    }
}
