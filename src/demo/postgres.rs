//! A private PostgreSQL server, run from the installed programs for a demonstration or a test.
//!
//! It has its own data, its own socket and a free port on 127.0.0.1, it trusts whoever connects there,
//! and it never outlives the process that started it, however that process ends.

mod account;
mod home;
mod programs;
mod server;
mod template;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use account::Account;
use home::Home;
use programs::Programs;
use server::{Launch, Server, Signal};

/// Another process may take the chosen port before the server does; so many ports are tried.
const PORTS_TRIED: u32 = 8;

/// What can keep a private server from starting or stopping.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "PostgreSQL's server programs `initdb` and `postgres` were not found (looked in {looked_in}). \
         Install them with `apt-get install postgresql` or `brew install postgresql`, \
         or name their folder in KORESYNC_PG_BINDIR"
    )]
    ProgramsMissing { looked_in: String },
    #[error("KORESYNC_PG_BINDIR is {}, which holds no program `{program}`", folder.display())]
    WrongBindir { folder: PathBuf, program: &'static str },
    #[error(
        "PostgreSQL refuses to run as root, and this machine has no user `postgres` to run it as. \
         Install the system's package with `apt-get install postgresql`, or start this as an ordinary user"
    )]
    NoAccount,
    #[error("{} holds other files; give the server a folder of its own", .0.display())]
    Occupied(PathBuf),
    #[error("cannot use {}: {source}", path.display())]
    Files { path: PathBuf, source: io::Error },
    #[error("cannot run {}: {source}", program.display())]
    Program { program: PathBuf, source: io::Error },
    #[error("`initdb` failed: {0}")]
    Initdb(String),
    #[error("PostgreSQL did not start: {why}. The end of its log:\n{log}")]
    DidNotStart { why: String, log: String },
    #[error("PostgreSQL did not stop within {seconds} s. The end of its log:\n{log}")]
    DidNotStop { seconds: u64, log: String },
    #[error("the private PostgreSQL refused: {0}")]
    Database(#[from] sqlx::Error),
}

impl Error {
    fn files(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Files { path: path.to_owned(), source }
    }
}

/// How a private server is to be run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The server's own folder; a temporary one if `None`. It is made when missing.
    pub directory: Option<PathBuf>,
    /// Server settings by name, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// Whether the data must survive a crash of the machine. Without it the data still survives
    /// [`PrivatePostgres::crash`], which is a crash of the server alone.
    pub durable: bool,
    /// Whether the data stays in `directory` when the server has stopped.
    pub keep_data: bool,
    /// A folder in which processes share an initialised, empty cluster, which they copy instead of
    /// running `initdb` each. It is filled by the first one that needs it.
    pub templates: Option<PathBuf>,
}

/// A running private server. Dropping it stops the server; when the process dies without dropping it,
/// a watchdog does the same.
#[derive(Debug)]
pub struct PrivatePostgres {
    programs: Programs,
    account: Option<Account>,
    home: Home,
    settings: Vec<(String, String)>,
    port: u16,
    note: Option<String>,
    server: Option<Server>,
}

impl PrivatePostgres {
    /// Starts a server and waits until it accepts connections.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let programs = Programs::find().await?;
        let account = Account::for_server().await?;
        let (home, note) = Home::open(options.directory.as_deref(), options.keep_data, account.as_ref()).await?;
        let mut postgres =
            Self { programs, account, home, settings: settings(options.durable), port: 0, note, server: None };
        postgres.settings.extend(options.settings);
        postgres.fill(options.templates).await?;
        postgres.launch_on_a_free_port().await?;
        Ok(postgres)
    }

    /// `postgres://…` of a database, over TCP, as the superuser `postgres`. The name is taken as it is.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1; it stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with the data (`data`), the log (`server.log`) and, where its path is short enough, the socket.
    pub fn directory(&self) -> &Path {
        self.home.root()
    }

    /// The folder of the Unix socket.
    pub fn socket_directory(&self) -> &Path {
        self.home.socket()
    }

    /// The process id of the server, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Something that was done differently from what was asked, for the caller to say aloud.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Creates a database, unless one of that name is there.
    pub async fn create_database(&self, name: &str) -> Result<(), Error> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        let statement = format!("create database \"{}\"", name.replace('"', "\"\""));
        let created = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await;
        connection.close().await?;
        match created {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P04") => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// A fast shutdown: sessions are ended, the data is written out. Does nothing when it does not run.
    pub async fn stop(&mut self) -> Result<(), Error> {
        self.end(Signal::Fast).await
    }

    /// An immediate shutdown: sessions are cut, and the next start recovers from the log.
    pub async fn crash(&mut self) -> Result<(), Error> {
        self.end(Signal::Immediate).await
    }

    /// Starts the server again on its port and its data, after a fast shutdown if it still runs.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.stop().await?;
        self.launch().await
    }

    async fn end(&mut self, signal: Signal) -> Result<(), Error> {
        match self.server.take() {
            Some(server) => server.end(signal, &self.home).await,
            None => Ok(()),
        }
    }

    /// Makes the cluster, unless the folder holds one.
    async fn fill(&self, templates: Option<PathBuf>) -> Result<(), Error> {
        if self.home.holds_a_cluster() {
            return Ok(());
        }
        let unfinished = self.home.unfinished();
        home::remove(&unfinished).map_err(Error::files(&unfinished))?;
        match templates {
            Some(folder) => template::copy_to(&unfinished, folder, &self.programs, self.account.clone()).await?,
            None => initdb(&self.programs, self.account.as_ref(), &unfinished, &[]).await?,
        }
        let data = self.home.data();
        std::fs::rename(&unfinished, &data).map_err(Error::files(&data))
    }

    async fn launch_on_a_free_port(&mut self) -> Result<(), Error> {
        let mut tried = 0;
        loop {
            self.port = free_port().map_err(Error::files(Path::new("127.0.0.1")))?;
            let log_length = self.home.log_length();
            match self.launch().await {
                Err(_) if tried < PORTS_TRIED && self.home.log_from(log_length).contains("could not bind") => {
                    tried += 1;
                }
                other => return other,
            }
        }
    }

    async fn launch(&mut self) -> Result<(), Error> {
        let mut settings = vec![
            ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
            ("port".to_owned(), self.port.to_string()),
            ("unix_socket_directories".to_owned(), self.home.quoted_socket()),
        ];
        settings.extend(self.settings.iter().cloned());
        let launch = Launch {
            postgres: self.programs.postgres(),
            account: self.account.as_ref(),
            home: &self.home,
            settings: &settings,
        };
        self.server = Some(Server::launch(&launch).await?);
        Ok(())
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // The files go after the server, before the watchdog is let go.
        if let Some(mut server) = self.server.take() {
            server.end_now();
        }
        self.home.clear();
    }
}

/// Acknowledged commits must outlive a crash of the server in every case, so `synchronous_commit` stays on:
/// without `fsync` it costs one write to the page cache.
fn settings(durable: bool) -> Vec<(String, String)> {
    let relaxed: &[(&str, &str)] = if durable { &[] } else { &[("fsync", "off"), ("full_page_writes", "off")] };
    relaxed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A command that PostgreSQL accepts: not as root, not led astray by the caller's environment.
fn command(program: &Path, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    // With TZ set, initdb need not search the machine's time zones for the one in use.
    command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
    if let Some(account) = account {
        account.apply(&mut command);
    }
    command
}

async fn initdb(programs: &Programs, account: Option<&Account>, data: &Path, extra: &[&str]) -> Result<(), Error> {
    let program = programs.initdb();
    let mut command = command(&program, account);
    command.args(["--auth=trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]).args(extra);
    command.arg("-D").arg(data);
    let mut command = tokio::process::Command::from(command);
    let output = command.kill_on_drop(true).output().await.map_err(|source| Error::Program { program, source })?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Error::Initdb(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
    }
}
