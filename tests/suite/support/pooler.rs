//! `PgBouncer` in transaction mode between the daemon and its server.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Url;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::process::LOOK;

/// Set, the daemon of every test that can goes through a pooler.
const FOR_ALL: &str = "KORESYNC_TEST_POOLER";

/// The pooler of this test process, of one server.
static SHARED: OnceCell<(String, Pooler)> = OnceCell::const_new();

/// A `PgBouncer` with few sessions of each database to lend, so that they change hands all the time.
#[derive(Debug)]
pub struct Pooler {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Pooler {
    /// `None`, and a word about it, where `PgBouncer` is not installed.
    pub async fn start(database_url: &str) -> Option<Self> {
        let program = ["pgbouncer", "/usr/sbin/pgbouncer", "/opt/homebrew/bin/pgbouncer"]
            .into_iter()
            .find(|program| Command::new(program).arg("--version").output().is_ok());
        let Some(program) = program else {
            eprintln!("SKIPPED: PgBouncer is not installed here");
            return None;
        };
        let server = Url::parse(database_url).expect("a URL");
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let (host, server_port) = (server.host_str().expect("a host"), server.port().unwrap_or(5432));
        let users = folder.path().join("users");
        std::fs::write(&users, format!("\"{}\" \"{}\"\n", server.username(), server.password().unwrap_or_default()))
            .expect("a file of users");
        let settings = format!(
            "[databases]\n* = host={host} port={server_port}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             pool_mode = transaction\ndefault_pool_size = 10\nserver_idle_timeout = 3\nmax_client_conn = 500\n\
             auth_type = trust\nauth_file = {}\nlog_connections = 0\nlog_disconnections = 0\n",
            users.display()
        );
        let configuration = folder.path().join("pgbouncer.ini");
        std::fs::write(&configuration, settings).expect("a configuration");
        // The shell ends it when this process is gone, since then nobody holds the other end of its stdin.
        let mut command = Command::new("sh");
        command.args(["-c", "\"$0\" \"$1\" & cat >/dev/null; kill $!", program]);
        if id("-u") == Some(0) {
            // It refuses to run as root.
            for path in [folder.path(), &users, &configuration] {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a file for all");
            }
            command.uid(65_534).gid(65_534);
        }
        command.arg(&configuration).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("PgBouncer");
        let pooler = Self { process, port, _folder: folder };
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "PgBouncer takes no connection");
            tokio::time::sleep(LOOK).await;
        }
        Some(pooler)
    }

    /// The same database, through it.
    pub fn url(&self, database_url: &str) -> String {
        let mut url = Url::parse(database_url).expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(self.port)).expect("a port");
        url.into()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The URL that the daemon is to use: through a pooler where all tests are to go through one.
pub async fn way_to(database_url: &str) -> String {
    if std::env::var_os(FOR_ALL).is_none_or(|value| value.is_empty()) {
        return database_url.to_owned();
    }
    let start = async || {
        let pooler = Pooler::start(database_url).await.expect("PgBouncer, which KORESYNC_TEST_POOLER asks for");
        (server_of(database_url), pooler)
    };
    let (server, pooler) = SHARED.get_or_init(start).await;
    // A server of the test's own has none.
    if *server == server_of(database_url) { pooler.url(database_url) } else { database_url.to_owned() }
}

fn server_of(url: &str) -> String {
    let url = Url::parse(url).expect("a URL");
    format!("{:?}:{:?}", url.host_str(), url.port())
}

fn id(which: &str) -> Option<u32> {
    String::from_utf8(Command::new("id").arg(which).output().ok()?.stdout).ok()?.trim().parse().ok()
}
