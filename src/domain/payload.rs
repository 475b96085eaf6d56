//! A record's text as it is kept: compressed with zstd, from the moment it came.

use std::fmt;
use std::io;
use std::ops::Range;

use bytes::Bytes;

/// Fast, and half of what the highest level saves.
const LEVEL: i32 = 1;

/// A compressed text. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    compressed: Bytes,
    text_bytes: usize,
}

impl Payload {
    /// A payload as the warehouse holds it. Errors when it is no zstd frame that tells its length.
    pub fn kept(compressed: Vec<u8>) -> io::Result<Self> {
        let text_bytes = zstd::bulk::Decompressor::upper_bound(&compressed)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a payload that tells its length"))?;
        Ok(Self { compressed: compressed.into(), text_bytes })
    }

    /// No text: what is kept of a record of which nobody can tell what is personal in it.
    pub fn nothing() -> Self {
        Self { compressed: Bytes::new(), text_bytes: 0 }
    }

    pub fn compressed(&self) -> &[u8] {
        &self.compressed
    }

    /// Length of the text.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }
}

impl fmt::Debug for Payload {
    /// Leaves the text out: it is personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("text_bytes", &self.text_bytes)
            .field("compressed_bytes", &self.compressed.len())
            .finish()
    }
}

/// Compresses texts, each by itself.
pub struct Packer(zstd::bulk::Compressor<'static>);

impl Packer {
    pub fn new() -> io::Result<Self> {
        Ok(Self(zstd::bulk::Compressor::new(LEVEL)?))
    }

    /// Packs texts into one piece of memory: a page's payloads come and go together.
    pub fn pack(&mut self, texts: &[&[u8]]) -> io::Result<Vec<Payload>> {
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or_default();
        let mut one = Vec::with_capacity(zstd::zstd_safe::compress_bound(longest));
        let mut all = Vec::new();
        let mut ends = Vec::with_capacity(texts.len());
        for text in texts {
            one.clear();
            self.0.compress_to_buffer(text, &mut one)?;
            all.extend_from_slice(&one);
            ends.push(all.len());
        }
        all.shrink_to_fit();
        let all = Bytes::from(all);
        Ok(ranges(&ends)
            .zip(texts)
            .map(|(range, text)| Payload { compressed: all.slice(range), text_bytes: text.len() })
            .collect())
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packer")
    }
}

/// The texts of payloads, side by side.
#[derive(Default)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    pub fn unpack<'p>(payloads: impl IntoIterator<Item = &'p Payload>) -> io::Result<Self> {
        let payloads: Vec<&Payload> = payloads.into_iter().collect();
        let mut unpacker = zstd::bulk::Decompressor::new()?;
        let mut bytes = vec![0; payloads.iter().map(|payload| payload.text_bytes).sum()];
        let mut ends = Vec::with_capacity(payloads.len());
        let mut at = 0;
        for payload in payloads {
            let end = at + payload.text_bytes;
            let written = unpacker.decompress_to_buffer(&payload.compressed, &mut bytes[at..end])?;
            if written != payload.text_bytes {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a payload shorter than it tells"));
            }
            ends.push(end);
            at = end;
        }
        Ok(Self { bytes, ends })
    }

    /// In the order of the payloads.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        ranges(&self.ends).map(|range| &self.bytes[range])
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Texts").field("texts", &self.ends.len()).field("bytes", &self.bytes.len()).finish()
    }
}

fn ranges(ends: &[usize]) -> impl Iterator<Item = Range<usize>> + '_ {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| start..*end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        let texts: [&[u8]; 4] = [b"{\"a\":1}", b"", b"not even json \xff", &[7; 5_000]];
        let payloads = Packer::new().and_then(|mut packer| packer.pack(&texts)).expect("payloads");
        assert_eq!(payloads.iter().map(Payload::text_bytes).collect::<Vec<_>>(), [7, 0, 15, 5_000]);
        assert!(payloads[3].compressed().len() < 100);
        let kept: Vec<Payload> =
            payloads.iter().map(|p| Payload::kept(p.compressed().to_vec()).expect("a payload")).collect();
        assert_eq!(kept, payloads);
        assert_eq!(Texts::unpack(&kept).expect("texts").iter().collect::<Vec<_>>(), texts);
    }

    #[test]
    fn a_payload_that_is_damaged_is_an_error() {
        assert!(Payload::kept(b"plain text".to_vec()).is_err());
        let mut payloads = Packer::new().and_then(|mut packer| packer.pack(&[&[7; 900]])).expect("payloads");
        payloads[0].text_bytes = 901;
        assert!(Texts::unpack(&payloads).is_err(), "shorter than it tells");
        payloads[0].text_bytes = 899;
        assert!(Texts::unpack(&payloads).is_err(), "longer than it tells");
    }

    #[test]
    fn no_text_is_told() {
        let payloads = Packer::new().and_then(|mut packer| packer.pack(&[b"a name"])).expect("payloads");
        assert_eq!(
            format!("{:?}", payloads[0]),
            format!("Payload {{ text_bytes: 6, compressed_bytes: {} }}", payloads[0].compressed().len())
        );
        let texts = Texts::unpack(&payloads).expect("texts");
        assert_eq!(format!("{texts:?}"), "Texts { texts: 1, bytes: 6 }");
        assert_eq!(format!("{:?}", Packer::new().expect("a packer")), "Packer");
    }
}
