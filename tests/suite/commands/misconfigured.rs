//! Twelve ways to configure it wrongly: `check` names each one, and the mend.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use jsonwebtoken::{EncodingKey, Header, encode};
use koresync::domain::SystemClock;
use koresync::domain::clock::Clock as _;
use koresync::simulate;

use super::{Ended, Koresync, migrated};
use crate::support::mirror::{ACCOUNT_ID, CLIENT_ID, CLIENT_SECRET, population};
use crate::support::postgres::TestDatabase;

/// A configuration in which everything is right, before `change` makes one thing wrong.
struct Place {
    database: TestDatabase,
    _vendor: simulate::Running,
    folder: tempfile::TempDir,
    right: String,
}

impl Place {
    async fn new() -> Self {
        let (database, _) = migrated().await;
        let vendor = simulate::start(population(), Arc::new(SystemClock)).await.expect("a simulated vendor");
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("secret");
        write(&secret, CLIENT_SECRET, 0o600);
        let right = format!(
            "[warehouse]\nurl = \"{}\"\ntime_zone = \"UTC\"\n\
             [api]\nbase_url = \"{}\"\naccount_id = \"{ACCOUNT_ID}\"\norg_id = \"o-1\"\nclient_id = \"{CLIENT_ID}\"\n\
             client_secret_file = \"{}\"\nrequests_per_minute = 60\n\
             [streams.support]\nstream_id = \"st-1\"\nstart = \"2026-01-01T00:00:00Z\"\n\
             [sync]\ngive_up = \"2s\"\n",
            database.url(),
            vendor.url(),
            secret.display()
        );
        Self { database, _vendor: vendor, folder, right }
    }

    /// What `check` says of it, and the exit.
    async fn check(&self, change: impl FnOnce(String) -> String) -> Ended {
        let text = change(self.right.clone());
        assert_ne!(text, self.right, "nothing was changed");
        Koresync::with(&text).run(&["check"]).await
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

fn write(path: &std::path::Path, text: &str, mode: u32) {
    std::fs::write(path, text).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}

/// A ready-made token with these claims.
fn token(claims: &serde_json::Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(CLIENT_SECRET.as_bytes())).expect("a token")
}

fn with_token(text: &str, token: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("client_"));
    lines
        .map(
            |line| {
                if line.starts_with("org_id") { format!("{line}\ntoken = \"{token}\"\n") } else { format!("{line}\n") }
            },
        )
        .collect()
}

#[tokio::test]
async fn each_of_twelve_faults_is_told_with_its_mend() {
    let place = Place::new().await;
    let well = Koresync::with(&place.right).run(&["check"]).await;
    well.expect(0);
    for line in [
        "✓ configuration",
        "✓ secret file",
        "✓ support host",
        "✓ support token: appId cs-1, expires at",
        "✓ support request",
        "✓ support clock: agrees",
        "✓ database",
        "✓ pooler: none",
        "✓ connections",
        "✓ disk",
        "✓ rights",
        "✓ schema",
        "✓ time zone",
        "✓ support identity",
    ] {
        assert!(well.stdout.contains(line), "{line} in\n{}", well.stdout);
    }
    assert!(!well.stdout.contains('→'), "a mend where nothing is wrong:\n{}", well.stdout);
    assert!(!well.stdout.contains(CLIENT_SECRET), "the secret is told:\n{}", well.stdout);

    let pool = place.database.pool().await;
    let now = SystemClock.now().timestamp();
    let (open, missing) = (place.file("open"), place.file("missing"));
    write(open.as_ref(), CLIENT_SECRET, 0o644);
    let secret = place.file("secret");
    sqlx::raw_sql("create role stranger_of_check login password 'p'").execute(&pool).await.expect("a role");
    let user_at = place.right.find("postgres://").expect("a URL");
    let user = place.right[user_at..].split(['/', '@', ':']).nth(3).expect("a user").to_owned();
    let other = CLIENT_SECRET.replace("secret", "guess");
    let wrong = place.file("wrong");
    write(wrong.as_ref(), &other, 0o600);

    let ended = [
        ("an unknown key", 78, "did you mean `poll_interval`", place.check(|text| text.replace("give_up", "pol_interval")).await),
        ("two limits of one account", 78, "requests_per_minute", place.check(|text| {
            format!("{text}[streams.sales]\nstream_id = \"st-2\"\nstart = \"2026-01-01T00:00:00Z\"\nrequests_per_minute = 30\n")
        }).await),
        ("a secret file that is not there", 78, "→ write the secret there", place.check(|text| text.replace(&secret, &missing)).await),
        ("a secret file open to everybody", 0, "→ chmod 600", place.check(|text| text.replace(&secret, &open)).await),
        ("another client's secret", 77, "✗ support request: ", place.check(|text| text.replace(&secret, &wrong)).await),
        ("an expired token", 77, "→ get a new token", place.check(|text| {
            with_token(&text, &token(&serde_json::json!({ "appId": CLIENT_ID, "exp": now - 60 })))
        }).await),
        ("a token about to expire", 0, "→ have a new token at hand", place.check(|text| {
            with_token(&text, &token(&serde_json::json!({ "appId": CLIENT_ID, "iat": now - 86_400, "exp": now + 86_400 })))
        }).await),
        ("a vendor that is not there", 69, "→ check the network", place.check(|text| {
            let at = text.find("http://127.0.0.1:").expect("a vendor");
            let end = text[at..].find('"').expect("its end") + at;
            format!("{}http://127.0.0.1:1{}", &text[..at], &text[end..])
        }).await),
        ("a database that is not there", 69, "→ check warehouse.url, the server", place.check(|text| {
            text.replace(place.database.url(), super::NOWHERE)
        }).await),
        ("a login without rights", 77, "→ grant kore_writer to \"stranger_of_check\";", place.check(|text| {
            text.replace(&format!("postgres://{user}"), "postgres://stranger_of_check:p")
        }).await),
        ("another stream under a known name", 78, "→ give the new one another name", {
            sqlx::raw_sql(
                "insert into koresync.streams (stream, account_id, stream_id, start_at, frontier, watermark, span_seconds, created_at) \
                 values ('support', 'acc-1', 'st-1', now(), now(), now(), 3600, now())",
            )
            .execute(&pool)
            .await
            .expect("a stream");
            place.check(|text| text.replace("st-1", "st-9")).await
        }),
        ("another time zone than the warehouse's", 78, "✗ time zone: ", {
            sqlx::raw_sql("insert into kore.settings (time_zone) values ('UTC')").execute(&pool).await.expect("a zone");
            place.check(|text| text.replace("time_zone = \"UTC\"", "time_zone = \"Europe/Berlin\"")).await
        }),
    ];
    let mut failures = Vec::new();
    for (fault, exit, told, ended) in &ended {
        let wrong: Vec<&str> = ended.stdout.lines().filter(|line| !line.starts_with('✓')).collect();
        println!("{fault} (exit {exit}):\n  {}", wrong.join("\n  "));
        if ended.code != Some(*exit) {
            failures
                .push(format!("{fault}: exit {:?} instead of {exit}\n{}{}", ended.code, ended.stdout, ended.stderr));
        }
        if !wrong.iter().any(|line| line.contains(told)) {
            failures.push(format!("{fault}: {told} is not in\n{}", ended.stdout));
        }
        // As a driver tells the server's errors: the line is one of PostgreSQL's own source.
        if wrong.iter().any(|line| line.contains(" at line ") || line.contains("error returned from")) {
            failures.push(format!("{fault}: told in no words of ours\n{}", ended.stdout));
        }
        if ended.stdout.contains(CLIENT_SECRET) {
            failures.push(format!("{fault}: the secret is told"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
