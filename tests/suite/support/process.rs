//! The real program as a process of its own: its configuration, its life, and what it told.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::mirror::{ACCOUNT_ID, CLIENT_ID, CLIENT_SECRET};

/// Between two looks at something that comes about by itself.
pub const LOOK: Duration = Duration::from_millis(5);

/// A stream's section of the configuration file.
#[derive(Debug, Clone)]
pub struct Stream {
    pub name: &'static str,
    pub id: &'static str,
    pub start: DateTime<Utc>,
    /// Keys of `[api]` that it overrides, as lines of TOML.
    pub overrides: String,
}

impl Stream {
    pub fn new(name: &'static str, id: &'static str, start: DateTime<Utc>) -> Self {
        Self { name, id, start, overrides: String::new() }
    }
}

/// A configuration file. The defaults suit a vendor without limits that listens in the test's own process.
#[derive(Debug, Clone)]
pub struct Configuration {
    pub database_url: String,
    pub base_url: String,
    pub client_secret: String,
    pub page_size: u32,
    pub max_window_bytes: u32,
    pub lease: &'static str,
    pub give_up: &'static str,
    pub time_zone: &'static str,
    /// Lines of `[warehouse]`.
    pub warehouse: String,
    pub log_level: &'static str,
    pub log_format: &'static str,
    /// Lines of `[privacy]`.
    pub privacy: String,
    /// Lines of `[sync]`.
    pub sync: String,
    pub requests_per_minute: u32,
    pub streams: Vec<Stream>,
}

impl Configuration {
    pub fn new(database_url: &str, base_url: &str, streams: Vec<Stream>) -> Self {
        Self {
            database_url: database_url.to_owned(),
            base_url: base_url.to_owned(),
            client_secret: CLIENT_SECRET.to_owned(),
            page_size: 25,
            max_window_bytes: 256 << 10,
            lease: "1m",
            give_up: "1m",
            time_zone: "UTC",
            warehouse: String::new(),
            log_level: "info",
            log_format: "json",
            privacy: String::new(),
            sync: String::new(),
            requests_per_minute: 600_000,
            streams,
        }
    }

    fn toml(&self) -> String {
        let Self { database_url, base_url, client_secret, page_size, max_window_bytes, .. } = self;
        let Self {
            lease,
            give_up,
            time_zone,
            warehouse,
            log_level,
            log_format,
            privacy,
            sync,
            requests_per_minute,
            ..
        } = self;
        let mut text = format!(
            "[warehouse]\nurl = \"{database_url}\"\ntime_zone = \"{time_zone}\"\n{warehouse}\n\
             [api]\nbase_url = \"{base_url}\"\naccount_id = \"{ACCOUNT_ID}\"\norg_id = \"o-1\"\n\
             client_id = \"{CLIENT_ID}\"\nclient_secret = \"{client_secret}\"\n\
             requests_per_minute = {requests_per_minute}\npage_size = {page_size}\n\
             [sync]\nlease = \"{lease}\"\ngive_up = \"{give_up}\"\nmax_window_bytes = {max_window_bytes}\n{sync}\n\
             [server]\nlisten = \"127.0.0.1:0\"\n\
             [privacy]\n{privacy}\n\
             [log]\nlevel = \"{log_level}\"\nformat = \"{log_format}\"\n"
        );
        for Stream { name, id, start, overrides } in &self.streams {
            let start = start.to_rfc3339_opts(SecondsFormat::Secs, true);
            write!(text, "[streams.{name}]\nstream_id = \"{id}\"\nstart = \"{start}\"\n{overrides}\n").expect("text");
        }
        text
    }
}

/// The program with a configuration file, and a folder for what its processes tell.
#[derive(Debug)]
pub struct Program {
    executable: PathBuf,
    folder: TempDir,
    configuration: PathBuf,
    spawned: std::cell::Cell<usize>,
    environment: Vec<(&'static str, OsString)>,
}

impl Program {
    pub fn new(configuration: &Configuration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("koresync.toml");
        std::fs::write(&path, configuration.toml()).expect("a configuration file");
        let executable = env!("CARGO_BIN_EXE_koresync").into();
        Self { executable, folder, configuration: path, spawned: std::cell::Cell::default(), environment: Vec::new() }
    }

    /// Another build of it.
    #[must_use]
    pub fn built_at(self, executable: PathBuf) -> Self {
        Self { executable, ..self }
    }

    /// A variable of its processes' environment.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Starts it with arguments after `--config`. Dropped, the process is killed.
    pub fn spawn(&self, arguments: &[&str]) -> Process {
        self.spawn_with(&[], arguments)
    }

    /// The same with variables of its own in the environment.
    pub fn spawn_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Process {
        let number = self.spawned.replace(self.spawned.get() + 1);
        let file = |stream: &str| self.folder.path().join(format!("{number}.{stream}"));
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        let mut command = Command::new(&self.executable);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let is_ours = name.starts_with("KORESYNC") && name != "KORESYNC_DEFECT";
            if is_ours || name.starts_with("PG") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.arg("--config").arg(&self.configuration).args(arguments);
        command.envs(variables.iter().copied()).stdin(Stdio::null());
        // Files, since a pipe that nobody reads would stop the process.
        command.stdout(File::create(&stdout).expect("a file")).stderr(File::create(&stderr).expect("a file"));
        let child = command.kill_on_drop(true).spawn().expect("the program");
        Process { child, stdout, stderr, what: arguments.join(" ") }
    }

    /// Runs it to its end. Gives its exit code and everything that it told.
    pub async fn run(&self, arguments: &[&str], within: Duration) -> (Option<i32>, String) {
        let mut process = self.spawn(arguments);
        let status = process.ended(within).await;
        (status.code(), process.told())
    }
}

#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    what: String,
}

impl Process {
    /// SIGKILL, and the wait for its end. Panics when it had ended by itself.
    pub async fn kill(mut self) {
        if let Some(status) = self.child.try_wait().expect("a state") {
            panic!("`{}` ended by itself with {status}:\n{}", self.what, self.told());
        }
        self.child.kill().await.expect("a SIGKILL");
    }

    /// SIGTERM. What it does about it takes its time.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name: STOP, CONT.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().expect("a process that lives").to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &pid]).status().expect("the program kill");
        assert!(sent.success(), "no SIG{name} could be sent");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a state").is_none()
    }

    /// Waits for its end.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let Ok(status) = tokio::time::timeout(within, self.child.wait()).await else {
            panic!("`{}` did not end within {within:?}:\n{}", self.what, self.told())
        };
        status.expect("an end")
    }

    /// What is on stdout so far.
    pub fn printed(&self) -> String {
        text(&self.stdout)
    }

    /// Everything on stdout and stderr so far.
    pub fn told(&self) -> String {
        text(&self.stdout) + &text(&self.stderr)
    }

    /// Waits until it has told something with these words.
    pub async fn tells(&mut self, words: &str) {
        let began = Instant::now();
        while !text(&self.stderr).contains(words) {
            assert!(self.is_running(), "`{}` ended before it told \"{words}\":\n{}", self.what, self.told());
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(30), "`{}` never told \"{words}\":\n{}", self.what, self.told());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The most memory that it ever held, in bytes. Errors with the reason where the system does not tell.
    pub fn memory_peak(&self) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.child.id().ok_or("it has ended")?);
        let status = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
        let kibibytes: u64 = kibibytes.and_then(|text| text.trim().parse().ok()).ok_or("no VmHWM")?;
        Ok(kibibytes * 1024)
    }

    /// What the daemon answers to GET.
    pub async fn page(&mut self, path: &str) -> String {
        let address = self.address().await;
        let answer = reqwest::get(format!("http://{address}{path}")).await.expect("an answer");
        answer.text().await.expect("a text")
    }

    /// The address that the daemon listens on, once it does.
    pub async fn address(&mut self) -> String {
        self.tells("koresync starts.").await;
        let told = text(&self.stderr);
        let at = told.find("127.0.0.1:").expect("an address in the log");
        told[at..].chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect()
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).expect("what the process told")).into_owned()
}
