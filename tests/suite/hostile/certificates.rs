//! Whoever stands between the daemon and its servers gets nothing: certificates are verified, on both sides.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use koresync::demo::postgres::PrivatePostgres;
use koresync::simulate;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::authority::{Authority, Issued};
use crate::support::mirror::population;
use crate::support::postgres::{TestDatabase, cluster};
use crate::support::process::{Configuration, Program, Stream};
use crate::support::site::Site;

const SOON: Duration = Duration::from_secs(30);
/// An address of this machine that does not look it.
const DISTANT: &str = "0.0.0.0";

/// Makes the server show this certificate, to new connections.
async fn shows(postgres: &PrivatePostgres, issued: &Issued) {
    let data = postgres.directory().join("data");
    let owner = std::fs::metadata(&data).expect("the data");
    let (certificate, key) = issued.write(&data, (owner.uid(), owner.gid()));
    let mut connection = PgConnection::connect(&postgres.url("postgres")).await.expect("a connection");
    for (name, value) in [("ssl_cert_file", certificate.display()), ("ssl_key_file", key.display())] {
        let sql = format!("alter system set {name} = '{value}'");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("a setting");
    }
    sqlx::raw_sql("alter system set ssl = on").execute(&mut connection).await.expect("a setting");
    sqlx::raw_sql("select pg_reload_conf()").execute(&mut connection).await.expect("a reload");
    // New connections use it once the server has read it.
    let began = std::time::Instant::now();
    loop {
        let mut fresh =
            PgConnection::connect(&format!("{}?sslmode=prefer", postgres.url("postgres"))).await.expect("one");
        let is_encrypted: bool = sqlx::query_scalar("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
            .fetch_one(&mut fresh)
            .await
            .expect("an answer");
        if is_encrypted {
            break;
        }
        assert!(began.elapsed() < SOON, "the server has no TLS");
    }
}

/// How `koresync migrate` ends, with these lines of `[warehouse]` more.
async fn migrate(url: &str, warehouse: &str) -> (Option<i32>, String) {
    let start = "2026-01-01T00:00:00Z".parse().expect("a time");
    let streams = vec![Stream::new("support", "st-1", start)];
    let warehouse = warehouse.to_owned();
    let configuration =
        Configuration { give_up: "1s", warehouse, ..Configuration::new(url, "http://127.0.0.1:1", streams) };
    Program::new(&configuration).run(&["migrate"], SOON).await
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_elsewhere_is_trusted_by_a_certificate_alone() {
    let postgres = cluster().await;
    postgres.create_database("warehouse").await.expect("a database");
    let elsewhere = postgres.url("warehouse").replace("127.0.0.1", DISTANT);
    let authority = Authority::new();
    let trusting = format!("{elsewhere}?sslrootcert={}", authority.file().display());

    let (exit, told) = migrate(&elsewhere, "").await;
    assert_eq!(exit, Some(69), "without TLS: {told}");
    assert!(told.contains("server does not support TLS"), "{told}");

    let stranger = Authority::new();
    for (issued, url, said) in [
        (authority.issue(DISTANT), &elsewhere, "UnknownIssuer"),
        (stranger.issue(DISTANT), &trusting, "UnknownIssuer"),
        (authority.issue("db.example.com"), &trusting, "not valid for name"),
        (authority.issue_until(DISTANT, 2002), &trusting, "expired"),
    ] {
        shows(&postgres, &issued).await;
        let (exit, told) = migrate(url, "").await;
        assert_eq!(exit, Some(69), "{said}: {told}");
        assert!(told.contains(said) && told.contains("sslrootcert"), "{said} is not told: {told}");
    }

    // Nothing weaker is taken from the URL, unless that is said in so many words; and then as it stands there.
    shows(&postgres, &stranger.issue(DISTANT)).await;
    for mode in ["disable", "prefer", "require", "verify-ca"] {
        let (exit, told) = migrate(&format!("{elsewhere}?sslmode={mode}"), "").await;
        assert_eq!(exit, Some(78), "{mode}: {told}");
    }
    let (exit, told) = migrate(&format!("{elsewhere}?sslmode=verify-full"), "allow_insecure = true").await;
    assert_eq!(exit, Some(69), "{told}");
    assert!(told.contains("UnknownIssuer"), "{told}");
    let (exit, told) = migrate(&format!("{elsewhere}?sslmode=require"), "allow_insecure = true").await;
    assert_eq!(exit, Some(0), "{told}");

    shows(&postgres, &authority.issue(DISTANT)).await;
    let (exit, told) = migrate(&trusting, "").await;
    assert_eq!(exit, Some(0), "a right certificate: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_certificate_carries_a_whole_load() {
    let postgres = cluster().await;
    postgres.create_database("warehouse").await.expect("a database");
    let url = postgres.url("warehouse");
    let authority = Authority::new();
    shows(&postgres, &authority.issue(DISTANT)).await;
    let site = Site::start(&url, simulate::Options { contacts: 300, days: 2, ..population() }).await;
    let vendor = authority.issue("127.0.0.1").in_front_of(site.vendor.address).await;
    let database_url = format!("{}?sslrootcert={}", url.replace("127.0.0.1", DISTANT), authority.file().display());
    let program = Program::new(&Configuration { database_url, base_url: vendor, ..site.configuration() })
        .with("SSL_CERT_FILE", authority.file());
    let (exit, told) = program.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    site.assert_equal().await;
    site.assert_ledger_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_is_trusted_by_a_certificate_alone() {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), simulate::Options { contacts: 100, days: 2, ..population() }).await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (issued, said) in [
        (stranger.issue("127.0.0.1"), "UnknownIssuer"),
        (authority.issue("platform.example.com"), "not valid for name"),
        (authority.issue_until("127.0.0.1", 2002), "expired"),
    ] {
        let base_url = issued.in_front_of(site.vendor.address).await;
        let program = Program::new(&Configuration { base_url, give_up: "2s", ..site.configuration() })
            .with("SSL_CERT_FILE", authority.file());
        let (exit, told) = program.run(&["run", "--once"], SOON).await;
        assert_eq!(exit, Some(69), "{said}: {told}");
        assert!(told.contains(said) && told.contains("SSL_CERT_FILE"), "{said} is not told: {told}");
    }
    assert!(site.vendor.stats().requests.is_empty(), "a token reached a server that nobody vouches for");
}
