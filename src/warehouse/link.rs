//! The way to a PostgreSQL server over TCP, made by us because sqlx's lacks two things.
//!
//! It leaves Nagle's algorithm on: each COPY then waits 40 ms for the server's delayed acknowledgement
//! before its last bytes go out (measured: 0.48 s a window of a dozen tables, 0.02 s without). And it
//! sets no keepalive: a server that vanishes without a word would be waited for by the hour. So sqlx
//! speaks to a local socket of this process, and bytes are passed on over a connection with both set.
//! TLS, where there is any, is sqlx's own and passes through.
//!
//! A keepalive is answered by whatever holds the other end of the connection: a proxy that stalls, a server that hangs.
//! So a question that stays without any answer for longer than a statement may take ends the connection too.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::AbortHandle;
use tokio::time::Instant;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A server that says nothing for so long is asked whether it lives, ...
const SILENCE: Duration = Duration::from_secs(15);
/// ... so often, ...
const PROBES: u32 = 3;
/// ... at this distance.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Bytes that nobody acknowledges for so long mean the same.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
const BUFFER_BYTES: usize = 128 * 1024;

/// Ends its connections when the last user drops it.
#[derive(Debug)]
pub struct Link {
    /// What to give to sqlx as the directory of a Unix socket.
    directory: String,
    accepting: AbortHandle,
    failure: Arc<Mutex<Option<String>>>,
    /// How long a question may stay without an answer; not set: for ever.
    patience: Arc<OnceLock<Duration>>,
    ports: Arc<Mutex<BTreeSet<u16>>>,
}

impl Link {
    /// Opens the local end. Must be called within a Tokio runtime; connects nowhere yet.
    pub fn open(host: &str, port: u16) -> io::Result<Self> {
        let directory = local_directory()?;
        let listener = bind(&format!("{directory}/.s.PGSQL.{port}"))?;
        let failure = Arc::new(Mutex::new(None));
        let patience = Arc::new(OnceLock::new());
        let ports = Arc::default();
        let server = Server { host: host.trim_matches(['[', ']']).to_owned(), port, failure, patience, ports };
        let (failure, patience) = (Arc::clone(&server.failure), Arc::clone(&server.patience));
        let ports = Arc::clone(&server.ports);
        let accepting = tokio::spawn(async move {
            while let Ok((local, _)) = listener.accept().await {
                tokio::spawn(server.clone().pass_on(local));
            }
        });
        Ok(Self { directory, accepting: accepting.abort_handle(), failure, patience, ports })
    }

    /// Ends connections on which a question stays without an answer for so long. Said once.
    pub fn answered_within(&self, patience: Duration) {
        let _ = self.patience.set(patience);
    }

    /// Whether one of its connections has this port at our end.
    pub fn is_from(&self, port: u16) -> bool {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).contains(&port)
    }

    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Why the server could not be reached, if it could not be the last time.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
        if !self.directory.starts_with('\0') {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// Where the server is, and what is known of the way to it.
#[derive(Debug, Clone)]
struct Server {
    host: String,
    port: u16,
    failure: Arc<Mutex<Option<String>>>,
    patience: Arc<OnceLock<Duration>>,
    /// Our ends of the connections that are open.
    ports: Arc<Mutex<BTreeSet<u16>>>,
}

/// One of them, for as long as it is open.
struct Open<'s>(&'s Mutex<BTreeSet<u16>>, u16);

impl<'s> Open<'s> {
    fn note(ports: &'s Mutex<BTreeSet<u16>>, port: u16) -> Self {
        ports.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        Self(ports, port)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl Server {
    async fn pass_on(self, mut local: UnixStream) {
        let connected = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect((self.host.as_str(), self.port)))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")));
        let prepared = connected.and_then(|server| prepare(&server).map(|()| server));
        self.tell(
            prepared.as_ref().err().map(|error| format!("cannot reach PostgreSQL at {}: {error}", self.address())),
        );
        let Ok(server) = prepared else { return };
        let _open = server.local_addr().ok().map(|ours| Open::note(&self.ports, ours.port()));
        let owed = Owed::default();
        let mut server = Listened { server, owed: &owed };
        // An end of either side ends both; sqlx sees it as such and makes a new connection.
        let passing = tokio::io::copy_bidirectional_with_sizes(&mut local, &mut server, BUFFER_BYTES, BUFFER_BYTES);
        let Some(patience) = self.patience.get().copied() else {
            let _ = passing.await;
            return;
        };
        tokio::select! {
            _ = passing => {}
            () = owed.for_longer_than(patience) => {
                let seconds = patience.as_secs();
                tracing::warn!(seconds, "PostgreSQL gives no answer on a connection; the connection is ended.");
                self.tell(Some(format!("PostgreSQL at {} gave no answer for {seconds} s", self.address())));
            }
        }
    }

    fn tell(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Since when the server owes an answer: since the last byte that it was sent, until it sends one.
#[derive(Debug, Default)]
struct Owed(Mutex<Option<Instant>>);

impl Owed {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    async fn for_longer_than(&self, patience: Duration) {
        loop {
            let now = Instant::now();
            let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let until = since.unwrap_or(now) + patience;
            if until <= now {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// The server's end, and a note of what passes.
#[derive(Debug)]
struct Listened<'o> {
    server: TcpStream,
    owed: &'o Owed,
}

impl AsyncRead for Listened<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.server).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.owed.set(None);
        }
        read
    }
}

impl AsyncWrite for Listened<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.server).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Ok(length)) if length > 0) {
            self.owed.set(Some(Instant::now()));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.server).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.server).poll_shutdown(cx)
    }
}

fn prepare(server: &TcpStream) -> io::Result<()> {
    server.set_nodelay(true)?;
    let socket = SockRef::from(server);
    socket
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE_EVERY).with_retries(PROBES))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}

/// On Linux a name in the abstract namespace, which needs no writable directory and leaves nothing
/// behind; elsewhere a directory that only this user may enter.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere a directory has to be made")]
fn local_directory() -> io::Result<String> {
    Ok(format!("\0koresync-{}", uuid::Uuid::new_v4()))
}

#[cfg(not(target_os = "linux"))]
fn local_directory() -> io::Result<String> {
    use std::os::unix::fs::DirBuilderExt as _;
    let directory = std::env::temp_dir().join(format!("koresync-{}", uuid::Uuid::new_v4().simple()));
    std::fs::DirBuilder::new().mode(0o700).create(&directory)?;
    Ok(directory.display().to_string())
}

#[cfg(target_os = "linux")]
fn bind(path: &str) -> io::Result<UnixListener> {
    use std::os::linux::net::SocketAddrExt as _;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&path.as_bytes()[1..])?;
    let listener = std::os::unix::net::UnixListener::bind_addr(&address)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

#[cfg(not(target_os = "linux"))]
fn bind(path: &str) -> io::Result<UnixListener> {
    UnixListener::bind(path)
}
