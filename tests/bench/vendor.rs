//! A stand-in for the vendor that costs next to nothing: each page is a piece of a file of rendered records, which the
//! kernel sends without a copy. It runs as a process of its own, so that its share of the CPU is known.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use chrono::NaiveDateTime;
use serde_json::Value;

use super::records::{Index, Records};

/// The argument that makes this program the vendor.
pub const ROLE: &str = "serve-records";

/// The vendor's process. Dropped, it ends.
#[derive(Debug)]
pub struct Vendor {
    child: Child,
    /// Its end tells the process to end, however this one ends.
    input: Option<ChildStdin>,
    pub port: u16,
}

impl Vendor {
    pub fn start(records: &Records) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program)
            .args([ROLE.as_ref(), records.path.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the vendor does not start")?;
        let mut line = String::new();
        let output = child.stdout.take().context("the vendor says nothing")?;
        BufReader::new(output).read_line(&mut line)?;
        let port = line.trim().parse().context("the vendor tells no port")?;
        let input = child.stdin.take();
        Ok(Self { child, input, port })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.input.take();
        if let Err(error) = self.child.wait() {
            eprintln!("bench: the vendor does not end: {error}");
        }
    }
}

/// The vendor's process: answers until its input ends.
pub fn serve(arguments: &[String]) -> anyhow::Result<()> {
    let path = arguments.first().context("no file of records is given")?.clone();
    let index = Arc::new(Index::read(Path::new(&path))?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (index, path) = (Arc::clone(&index), path.clone());
            std::thread::spawn(move || {
                // A connection that breaks is the client's to complain of.
                if let Err(error) = converse(connection, &index, Path::new(&path))
                    && error.kind() != io::ErrorKind::UnexpectedEof
                    && error.kind() != io::ErrorKind::ConnectionReset
                {
                    eprintln!("bench: the vendor's connection broke: {error}");
                }
            });
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// Answers the requests of one connection, one after the other.
fn converse(connection: TcpStream, index: &Index, path: &Path) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut records = File::open(path)?;
    let mut output = connection.try_clone()?;
    let mut input = BufReader::new(connection);
    let mut body = Vec::new();
    while let Some(length) = read_head(&mut input)? {
        body.resize(length, 0);
        input.read_exact(&mut body)?;
        match Page::of(&body, index) {
            Some(page) => page.send(&mut output, &mut records)?,
            None => output.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")?,
        }
    }
    Ok(())
}

/// Reads up to the blank line; the length of the body, or nothing when the client has gone.
fn read_head(input: &mut BufReader<TcpStream>) -> io::Result<Option<usize>> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.split_once(':') else {
            if line.trim().is_empty() {
                return Ok(Some(length));
            }
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
}

const OPENING: &str = "{\"results\":[";

/// A page: what stands before the records, where they are, what stands behind.
struct Page {
    before: String,
    records: std::ops::Range<u64>,
    after: String,
}

impl Page {
    fn of(body: &[u8], index: &Index) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let date = |key: &str| {
            let moment = NaiveDateTime::parse_from_str(body.get(key)?.as_str()?, "%Y-%m-%d %H:%M:%S").ok()?;
            Some(moment.and_utc().timestamp_millis())
        };
        let whole = |key: &str| usize::try_from(body.get(key)?.as_u64()?).ok();
        let (offset, limit) = (whole("offset")?, whole("limit")?.min(100));
        let all = index.between(date("startDate")?, date("endDate")?);
        let first = all.start.saturating_add(offset).min(all.end);
        let numbers = first..first.saturating_add(limit).min(all.end);
        let records = index.bytes(&numbers);
        let after = format!(
            "],\"totalResults\":{},\"hasMore\":{},\"totalPages\":{},\"currentPage\":{}}}",
            all.len(),
            numbers.end < all.end,
            all.len().div_ceil(limit.max(1)),
            offset / limit.max(1) + 1,
        );
        let length = OPENING.len() as u64 + (records.end - records.start) + after.len() as u64;
        let before = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: {length}\r\n\r\n{OPENING}"
        );
        Some(Self { before, records, after })
    }

    fn send(&self, output: &mut TcpStream, file: &mut File) -> io::Result<()> {
        output.write_all(self.before.as_bytes())?;
        file.seek(SeekFrom::Start(self.records.start))?;
        // From a file to a socket the kernel passes the bytes on by itself.
        io::copy(&mut file.take(self.records.end - self.records.start), output)?;
        output.write_all(self.after.as_bytes())
    }
}
