//! A proxy between the daemon and PostgreSQL that does what networks do: it cuts, it falls silent, and it cuts between a
//! COMMIT and its answer.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Ends when it is dropped, and its connections with it.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    server: String,
    /// Nothing passes in either direction, and nobody is told.
    is_silent: watch::Sender<bool>,
    /// Grows with each cut of all connections.
    cuts: watch::Sender<u32>,
    /// Of a hundred COMMITs so many are cut off from their answers.
    lost_of_hundred: AtomicU32,
    lost: AtomicU32,
    chances: Mutex<StdRng>,
    is_open: AtomicBool,
}

impl Proxy {
    /// Stands before the server of `database_url`, which names a user, a host and a port.
    pub async fn start(database_url: &str, seed: u64) -> Self {
        let (user, rest) = database_url.split_once('@').expect("a URL with a user");
        let (server, database) = rest.split_once('/').expect("a URL with a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("{user}@{}/{database}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            is_silent: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
            lost_of_hundred: AtomicU32::new(0),
            lost: AtomicU32::new(0),
            chances: Mutex::new(StdRng::seed_from_u64(seed)),
            is_open: AtomicBool::new(true),
        });
        let taken = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&taken).pass_on(client));
            }
        });
        Self { url, shared, accepting }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on so many of a hundred COMMITs are done and not answered: their connections are cut.
    pub fn lose_answers(&self, of_hundred: u32) {
        self.shared.lost_of_hundred.store(of_hundred, Ordering::SeqCst);
    }

    /// COMMITs that were done and not answered.
    pub fn lost_answers(&self) -> u32 {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// Cuts all connections at once.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Keeps silent, on old and on new connections, as a network that swallows packets behind a box that acknowledges them.
    pub fn fall_silent(&self, is_silent: bool) {
        self.shared.is_silent.send_replace(is_silent);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_open.store(false, Ordering::SeqCst);
        self.accepting.abort();
        self.cut();
    }
}

impl Shared {
    async fn pass_on(self: Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(&self.server).await else { return };
        client.set_nodelay(true).expect("an option");
        server.set_nodelay(true).expect("an option");
        let mut cuts = self.cuts.subscribe();
        let before = *cuts.borrow_and_update();
        if !self.is_open.load(Ordering::SeqCst) {
            return;
        }
        // Whatever ends first ends the connection.
        tokio::select! {
            _ = self.both_ways(client, server) => {}
            _ = cuts.wait_for(|cuts| *cuts != before) => {}
        }
    }

    async fn both_ways(&self, client: TcpStream, server: TcpStream) -> io::Result<()> {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        // Set while the answer to a COMMIT is due that is not to be seen.
        let is_lost = AtomicBool::new(false);
        let asking = async {
            let mut messages = Messages::default();
            let mut bytes = vec![0; 64 << 10];
            loop {
                let length = from_client.read(&mut bytes).await?;
                if length == 0 {
                    return Ok(());
                }
                self.is_passing().await;
                if messages.hold_a_commit(&bytes[..length]) && self.is_unlucky() {
                    is_lost.store(true, Ordering::SeqCst);
                }
                to_server.write_all(&bytes[..length]).await?;
            }
        };
        let answering = async {
            let mut bytes = vec![0; 64 << 10];
            loop {
                let length = from_server.read(&mut bytes).await?;
                if length == 0 {
                    return Ok(());
                }
                if is_lost.load(Ordering::SeqCst) {
                    // It is done: the answer is here.
                    self.lost.fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
                self.is_passing().await;
                to_client.write_all(&bytes[..length]).await?;
            }
        };
        tokio::select! {
            ended = asking => ended,
            ended = answering => ended,
        }
    }

    async fn is_passing(&self) {
        let mut is_silent = self.is_silent.subscribe();
        is_silent.wait_for(|is_silent| !is_silent).await.expect("a proxy that lives");
    }

    fn is_unlucky(&self) -> bool {
        let of_hundred = self.lost_of_hundred.load(Ordering::SeqCst);
        self.chances.lock().expect("chances").random_range(0..100) < of_hundred
    }
}

/// The messages that a client sends: of each a letter and the length of the rest, but for the first ones, which have
/// no letter.
#[derive(Debug, Default)]
struct Messages {
    /// Of a message that has not come whole yet, its beginning; of a long one no more than tells what it is.
    begun: Vec<u8>,
    /// Bytes of a message that are still to come and say nothing.
    to_skip: usize,
    is_started: bool,
}

const STARTUP: u32 = 196_608;
/// Longer than any message that ends a transaction.
const SHORT: usize = 64;

impl Messages {
    fn hold_a_commit(&mut self, mut bytes: &[u8]) -> bool {
        let mut holds = false;
        loop {
            let skipped = self.to_skip.min(bytes.len());
            self.to_skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return holds;
            }
            let head = if self.is_started { 5 } else { 8 };
            let missing = head.max(self.length().unwrap_or(0)) - self.begun.len();
            let taken = missing.min(bytes.len());
            self.begun.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            let Some(length) = self.length() else { continue };
            if self.begun.len() < length.min(SHORT) {
                continue;
            }
            if self.is_started {
                holds |= self.begun.starts_with(b"Q") && self.begun[5..].starts_with(b"COMMIT");
            } else {
                let code = u32::from_be_bytes(self.begun[4..8].try_into().expect("four bytes"));
                self.is_started = code == STARTUP;
            }
            self.to_skip = length - self.begun.len();
            self.begun.clear();
        }
    }

    /// Of the message that has begun, once its length has come; no more of it than tells what it is.
    fn length(&self) -> Option<usize> {
        let at = usize::from(self.is_started);
        let length = self.begun.get(at..at + 4)?;
        Some(at + u32::from_be_bytes(length.try_into().ok()?) as usize)
    }
}

#[test]
fn a_commit_is_seen_however_its_bytes_come() {
    let startup = [&[0, 0, 0, 8][..], &80_877_103_u32.to_be_bytes(), &[0, 0, 0, 12], &STARTUP.to_be_bytes(), b"user"];
    let long = [&b"d"[..], &1_004_u32.to_be_bytes(), &[b'Q'; 1_000]].concat();
    let commit = [&b"Q"[..], &11_u32.to_be_bytes(), b"COMMIT\0"].concat();
    let other = [&b"Q"[..], &10_u32.to_be_bytes(), b"BEGIN\0"].concat();
    let all = [startup.concat(), long.clone(), commit, other.clone(), long].concat();
    for piece in [1, 2, 3, 7, 64, 1_000, all.len()] {
        let mut messages = Messages::default();
        let seen = all.chunks(piece).filter(|bytes| messages.hold_a_commit(bytes)).count();
        assert_eq!(seen, 1, "in pieces of {piece}");
    }
    let mut messages = Messages { is_started: true, ..Messages::default() };
    assert!(!messages.hold_a_commit(&other));
}
