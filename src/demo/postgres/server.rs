//! The server's process, and the watchdog that ends it when this process is gone.

use std::io::{PipeWriter, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use super::account::Account;
use super::home::Home;
use super::{Error, command};

const POLL: Duration = Duration::from_millis(4);
const START: Duration = Duration::from_mins(2);
const STOP: Duration = Duration::from_mins(1);

/// Becomes the server, and leaves behind a watchdog that obeys the pipe.
const WATCHDOG: &str = include_str!("watchdog.sh");

/// The shutdowns of PostgreSQL.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    Fast,
    Immediate,
}

impl Signal {
    /// What ends a server nobody will use again: data that is thrown away need not be written out.
    fn farewell(home: &Home) -> Self {
        if home.keep_data() { Self::Fast } else { Self::Immediate }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
        }
    }
}

/// What a server is started with.
#[derive(Debug)]
pub struct Launch<'a> {
    pub postgres: PathBuf,
    pub account: Option<&'a Account>,
    pub home: &'a Home,
    pub settings: &'a [(String, String)],
}

#[derive(Debug)]
pub struct Server {
    child: Child,
    /// The watchdog's orders: a signal's name to pass on, or `leave`. Its end says that we are gone.
    orders: PipeWriter,
    farewell: Signal,
    ended: bool,
}

impl Server {
    /// Starts the server and waits until it accepts connections.
    pub async fn launch(launch: &Launch<'_>) -> Result<Self, Error> {
        let mut server = Self::spawn(launch)?;
        let pid_file = launch.home.data().join("postmaster.pid");
        let begun = Instant::now();
        while !is_ready(&pid_file, server.pid()) {
            if let Some(status) = server.exited() {
                let (why, log) = (format!("it ended with {status}"), launch.home.log_tail());
                return Err(Error::DidNotStart { why, log });
            }
            if begun.elapsed() > START {
                let (why, log) = (format!("not ready within {} s", START.as_secs()), launch.home.log_tail());
                return Err(Error::DidNotStart { why, log });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(server)
    }

    fn spawn(launch: &Launch<'_>) -> Result<Self, Error> {
        let failed = |source| Error::Program { program: launch.postgres.clone(), source };
        let log = launch.home.open_log()?;
        let (orders_read, orders) = std::io::pipe().map_err(failed)?;
        let farewell = Signal::farewell(launch.home);
        let mut command = command(Path::new("/bin/sh"), launch.account);
        command.args(["-c", WATCHDOG, "sh", farewell.name()]);
        command.arg(if launch.home.keep_data() { "keep" } else { "remove" });
        command.arg(launch.home.root()).arg(launch.home.socket()).arg(&launch.postgres);
        command.arg("-D").arg(launch.home.data());
        for (name, value) in launch.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdin(orders_read).stdout(log.try_clone().map_err(failed)?).stderr(log);
        // A Ctrl-C at the terminal is for the caller, who stops the server when its clients are done.
        command.process_group(0);
        Ok(Self { child: command.spawn().map_err(failed)?, orders, farewell, ended: false })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Shuts the server down and waits for its end.
    pub async fn end(mut self, signal: Signal, home: &Home) -> Result<(), Error> {
        self.order(signal.name());
        let begun = Instant::now();
        while self.exited().is_none() {
            if begun.elapsed() > STOP {
                return Err(Error::DidNotStop { seconds: STOP.as_secs(), log: home.log_tail() });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Ends the server without an async runtime, by force if it must be.
    pub fn end_now(&mut self) {
        if self.exited().is_some() {
            return;
        }
        self.order(self.farewell.name());
        let begun = Instant::now();
        while self.exited().is_none() {
            if begun.elapsed() > STOP {
                drop(self.child.kill());
            }
            std::thread::sleep(POLL);
        }
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        if !self.ended {
            self.ended = true;
            // Its process id may be another's from now on.
            self.order("leave");
        }
        Some(status)
    }

    fn order(&mut self, word: &str) {
        if writeln!(self.orders, "{word}").is_err() && !self.ended {
            // The watchdog was killed, so nobody passes signals on any more.
            drop(self.child.kill());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end_now();
    }
}

/// The eighth line of the pid file tells the server's state; the first, that the file is not an earlier server's.
fn is_ready(pid_file: &Path, pid: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(pid_file) else { return false };
    let mut lines = text.lines().map(str::trim);
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6) == Some("ready")
}
