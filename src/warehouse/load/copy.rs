//! PostgreSQL's binary COPY format, written by hand: the fastest way in.
//!
//! The format: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format".

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::Decimal;

pub const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Sent to the server in pieces of this size, so that it works while we do.
const PIECE_BYTES: usize = 256 * 1024;
/// Microseconds from 1970 to PostgreSQL's epoch, 2000-01-01.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
const POSTGRES_EPOCH_DAYS: i32 = 10_957;
const TEXT_OID: u32 = 25;

/// Rows for one table, encoded. The columns of a row are appended in the order of the statement.
#[derive(Debug)]
pub struct CopyBuffer {
    statement: &'static str,
    columns: i16,
    bytes: Vec<u8>,
    rows: u64,
}

impl CopyBuffer {
    /// `statement` is `copy <table> (<columns>) from stdin (format binary)` with `columns` columns.
    pub fn new(statement: &'static str, columns: i16) -> Self {
        Self { statement, columns, bytes: Vec::new(), rows: 0 }
    }

    pub fn row(&mut self) -> Row<'_> {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(SIGNATURE);
        }
        self.bytes.extend_from_slice(&self.columns.to_be_bytes());
        self.rows += 1;
        Row { bytes: &mut self.bytes }
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn statement(&self) -> &'static str {
        self.statement
    }

    /// The rows so far, after the file's signature; empty without rows.
    pub fn encoded(&self) -> &[u8] {
        &self.bytes
    }

    /// Sends the rows, if there are any, and empties the buffer for the next batch.
    pub async fn send(&mut self, connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
        if self.rows == 0 {
            return Ok(0);
        }
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        let mut copy = connection.copy_in_raw(self.statement).await?;
        for piece in self.bytes.chunks(PIECE_BYTES) {
            copy.send(piece).await?;
        }
        let written = copy.finish().await?;
        self.clear();
        Ok(written)
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows = 0;
    }
}

/// The row being written.
#[derive(Debug)]
pub struct Row<'b> {
    bytes: &'b mut Vec<u8>,
}

/// A value that can stand in a column.
pub trait Field {
    fn write(&self, bytes: &mut Vec<u8>);
}

impl Row<'_> {
    pub fn field(&mut self, value: &(impl Field + ?Sized)) -> &mut Self {
        value.write(self.bytes);
        self
    }

    pub fn bytea(&mut self, value: &[u8]) -> &mut Self {
        write_field(self.bytes, value);
        self
    }

    pub fn jsonb(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            None => self.bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(text) => {
                write_length(self.bytes, text.len() + 1);
                self.bytes.push(1);
                self.bytes.extend_from_slice(text.as_bytes());
            }
        }
        self
    }
}

/// A field's length. No field comes near the 2 GiB that the format can say: bodies are capped far below.
fn write_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
}

fn write_field(bytes: &mut Vec<u8>, value: &[u8]) {
    write_length(bytes, value.len());
    bytes.extend_from_slice(value);
}

impl<T: Field> Field for Option<T> {
    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            None => bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(value) => value.write(bytes),
        }
    }
}

impl<T: Field + ?Sized> Field for &T {
    fn write(&self, bytes: &mut Vec<u8>) {
        (**self).write(bytes);
    }
}

impl Field for str {
    fn write(&self, bytes: &mut Vec<u8>) {
        write_field(bytes, self.as_bytes());
    }
}

impl Field for std::borrow::Cow<'_, str> {
    fn write(&self, bytes: &mut Vec<u8>) {
        write_field(bytes, self.as_bytes());
    }
}

impl Field for bool {
    fn write(&self, bytes: &mut Vec<u8>) {
        write_field(bytes, &[u8::from(*self)]);
    }
}

impl Field for i16 {
    fn write(&self, bytes: &mut Vec<u8>) {
        write_field(bytes, &self.to_be_bytes());
    }
}

impl Field for i32 {
    fn write(&self, bytes: &mut Vec<u8>) {
        write_field(bytes, &self.to_be_bytes());
    }
}

impl Field for i64 {
    fn write(&self, bytes: &mut Vec<u8>) {
        write_field(bytes, &self.to_be_bytes());
    }
}

impl Field for Uuid {
    fn write(&self, bytes: &mut Vec<u8>) {
        write_field(bytes, self.as_bytes());
    }
}

impl Field for DateTime<Utc> {
    fn write(&self, bytes: &mut Vec<u8>) {
        (self.timestamp_micros() - POSTGRES_EPOCH_US).write(bytes);
    }
}

impl Field for NaiveDate {
    fn write(&self, bytes: &mut Vec<u8>) {
        (self.to_epoch_days() - POSTGRES_EPOCH_DAYS).write(bytes);
    }
}

impl Field for Decimal {
    /// `numeric`: base-10000 digits, aligned on the decimal point.
    fn write(&self, bytes: &mut Vec<u8>) {
        let scale = u32::from(self.scale());
        // Widened by up to three zeros, so that the fraction is a whole number of groups.
        let fraction_groups = scale.div_ceil(4);
        let mut rest = u128::from(self.mantissa().unsigned_abs()) * 10_u128.pow(fraction_groups * 4 - scale);
        let mut groups = [0_u16; 12];
        let mut count = 0;
        let mut trailing_zeros = 0;
        while rest > 0 {
            let group = u16::try_from(rest % 10_000).unwrap_or_default();
            rest /= 10_000;
            if group == 0 && count == 0 {
                trailing_zeros += 1;
                continue;
            }
            groups[count] = group;
            count += 1;
        }
        let weight = if count == 0 { 0 } else { wire(count + trailing_zeros) - wire(fraction_groups as usize) - 1 };
        write_length(bytes, 8 + 2 * count);
        bytes.extend_from_slice(&wire(count).to_be_bytes());
        bytes.extend_from_slice(&weight.to_be_bytes());
        bytes.extend_from_slice(if self.mantissa() < 0 { &[0x40, 0x00] } else { &[0x00, 0x00] });
        bytes.extend_from_slice(&u16::from(self.scale()).to_be_bytes());
        for group in groups[..count].iter().rev() {
            bytes.extend_from_slice(&group.to_be_bytes());
        }
    }
}

/// Counts of groups are at most a dozen.
fn wire(count: usize) -> i16 {
    i16::try_from(count).unwrap_or(i16::MAX)
}

impl<T: AsRef<str>> Field for [T] {
    /// `text[]`, one dimension, from 1.
    fn write(&self, bytes: &mut Vec<u8>) {
        let header = if self.is_empty() { 12 } else { 20 };
        let length = header + self.iter().map(|text| 4 + text.as_ref().len()).sum::<usize>();
        write_length(bytes, length);
        bytes.extend_from_slice(&i32::from(!self.is_empty()).to_be_bytes());
        bytes.extend_from_slice(&0_i32.to_be_bytes());
        bytes.extend_from_slice(&TEXT_OID.to_be_bytes());
        if !self.is_empty() {
            write_dimension(bytes, self.len());
        }
        for text in self {
            text.as_ref().write(bytes);
        }
    }
}

fn write_dimension(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
    bytes.extend_from_slice(&1_i32.to_be_bytes());
}
