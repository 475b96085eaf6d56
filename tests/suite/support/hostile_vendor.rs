//! Stands in front of the simulated vendor, and answers in its place with what no client should choke on.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// An answer of status 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trick {
    /// A few megabytes of gzip that unpack to four gigabytes.
    GzipBomb,
    /// A gigabyte, as it is.
    Gigabyte,
    /// A record of arrays, a million within each other.
    DeepRecord,
    /// The same in place of a count.
    DeepPage,
    /// A record of ten million members.
    ManyKeys,
    /// Ten million records.
    ManyRecords,
    /// A byte a second.
    Trickle,
}

/// Streams every answer: none is ever held.
#[derive(Debug)]
pub struct HostileVendor {
    pub url: String,
    trick: Arc<Mutex<Option<Trick>>>,
    answers: Arc<AtomicU32>,
}

impl HostileVendor {
    /// Well-behaved, until it is told a trick: every request goes to `vendor`.
    pub async fn before(vendor: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (trick, answers) = (Arc::<Mutex<Option<Trick>>>::default(), Arc::<AtomicU32>::default());
        let (told, counted) = (Arc::clone(&trick), Arc::clone(&answers));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let trick = *told.lock().unwrap_or_else(PoisonError::into_inner);
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    match trick {
                        // A client that hangs up is right to.
                        Some(trick) => drop(play(client, trick).await),
                        None => drop(pass_on(client, vendor).await),
                    }
                    counted.fetch_add(u32::from(trick.is_some()), Ordering::Relaxed);
                });
            }
        });
        Self { url, trick, answers }
    }

    /// From the next connection on; one over which a trick was played is closed.
    pub fn plays(&self, trick: Option<Trick>) {
        *self.trick.lock().unwrap_or_else(PoisonError::into_inner) = trick;
    }

    /// Hostile answers that are over.
    pub fn answers(&self) -> u32 {
        self.answers.load(Ordering::Relaxed)
    }
}

async fn pass_on(mut client: TcpStream, vendor: SocketAddr) -> io::Result<()> {
    let mut vendor = TcpStream::connect(vendor).await?;
    tokio::io::copy_bidirectional(&mut client, &mut vendor).await.map(drop)
}

async fn play(mut client: TcpStream, trick: Trick) -> io::Result<()> {
    read_request(&mut client).await?;
    let gzip = if trick == Trick::GzipBomb { "content-encoding: gzip\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{gzip}transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await?;
    let end = b"],\"totalResults\":1,\"hasMore\":false}";
    match trick {
        Trick::GzipBomb => {
            let (start, block) = bomb();
            chunk(&mut client, &start).await?;
            repeat(&mut client, &block, 4 << 10).await?;
        }
        Trick::Gigabyte => {
            chunk(&mut client, b"{\"results\":[{\"text\":\"").await?;
            repeat(&mut client, &b"a".repeat(64 << 10), 16 << 10).await?;
            chunk(&mut client, b"\"}],\"totalResults\":1}").await?;
        }
        Trick::DeepRecord => {
            chunk(&mut client, b"{\"results\":[").await?;
            deep(&mut client).await?;
            chunk(&mut client, end).await?;
        }
        Trick::DeepPage => {
            chunk(&mut client, b"{\"totalResults\":").await?;
            deep(&mut client).await?;
            chunk(&mut client, b",\"results\":[]}").await?;
        }
        Trick::ManyKeys => {
            chunk(&mut client, b"{\"results\":[{").await?;
            repeat(&mut client, &b"\"\":0,".repeat(10_000), 1_000).await?;
            chunk(&mut client, b"\"x\":0}").await?;
            chunk(&mut client, end).await?;
        }
        Trick::ManyRecords => {
            chunk(&mut client, b"{\"results\":[").await?;
            repeat(&mut client, &b"{},".repeat(10_000), 1_000).await?;
            chunk(&mut client, b"{}],\"totalResults\":10000001}").await?;
        }
        Trick::Trickle => loop {
            chunk(&mut client, b" ").await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        },
    }
    client.write_all(b"0\r\n\r\n").await?;
    client.shutdown().await
}

async fn deep(client: &mut TcpStream) -> io::Result<()> {
    repeat(client, &[b'['; 10_000], 100).await?;
    repeat(client, &[b']'; 10_000], 100).await
}

async fn repeat(client: &mut TcpStream, piece: &[u8], times: u32) -> io::Result<()> {
    for _ in 0..times {
        chunk(client, piece).await?;
    }
    Ok(())
}

async fn chunk(client: &mut TcpStream, piece: &[u8]) -> io::Result<()> {
    client.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
    client.write_all(piece).await?;
    client.write_all(b"\r\n").await
}

/// The start of a gzip stream, and a block of a kilobyte that stands for a megabyte of blanks each time that it comes.
fn bomb() -> (Vec<u8>, Vec<u8>) {
    let blanks = vec![b' '; 1 << 20];
    let mut deflate = Compress::new(Compression::best(), false);
    let mut blocks = [const { Vec::new() }; 2].map(|_: Vec<u8>| Vec::with_capacity(16 << 10));
    for block in &mut blocks {
        // Flushed, a block ends at a byte; the second looks back on blanks alone, as each after it does.
        deflate.compress_vec(&blanks, block, FlushCompress::Sync).expect("a block");
    }
    let [first, second] = blocks;
    (["\x1f".as_bytes(), &[0x8b, 8, 0, 0, 0, 0, 0, 0, 255], &first].concat(), second)
}

/// A request and its body, which is small.
async fn read_request(client: &mut TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    loop {
        if client.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Ok(());
            }
        }
    }
}
