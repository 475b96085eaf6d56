//! A page of the vendor cut into its records, without reading them: each is read alone, so that one
//! bad record costs no other.

use std::borrow::Cow;
use std::ops::Range;

use super::read::Reader;
use super::{SyntaxError, Value};

/// The key under which a page lists its records.
const LIST: &str = "results";
/// Ten times what may be asked for: a page of more is no page, and its list alone would fill the memory.
const MAX_RECORDS: usize = 10_000;

/// What a page holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<'a> {
    /// The raw text of each record as a range of bytes of the body; `None` when the list is missing
    /// or is not an array.
    pub records: Option<Vec<Range<usize>>>,
    /// Every other member in order, and the list too when it is not an array.
    pub members: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Page<'a> {
    /// The member of that exact name, the last of several.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.members.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value)
    }
}

/// Cuts a page: one object that fills the whole body.
///
/// A body that ends too soon is an error, never a short page; so are text after the object and a
/// list that stands twice, of which one would be lost.
pub fn split_page(body: &[u8]) -> Result<Page<'_>, SyntaxError> {
    let mut reader = Reader::new(body, None);
    let mut page = Page { records: None, members: Vec::new() };
    reader.skip_byte_order_mark();
    reader.skip_space();
    if !reader.take(b'{') {
        return reader.fail("a page that is not an object");
    }
    reader.skip_space();
    let mut ended = reader.take(b'}');
    while !ended {
        let key = reader.key()?;
        if key == LIST && reader.peek() == Some(b'[') {
            if page.records.is_some() {
                return reader.fail("a second list of records");
            }
            page.records = Some(cut_list(&mut reader)?);
        } else {
            page.members.push((key, reader.value(1)?));
        }
        reader.skip_space();
        if reader.take(b',') {
            reader.skip_space();
        } else if reader.take(b'}') {
            ended = true;
        } else {
            return reader.fail("neither a comma nor the page's end");
        }
    }
    reader.end()?;
    Ok(page)
}

fn cut_list(reader: &mut Reader<'_>) -> Result<Vec<Range<usize>>, SyntaxError> {
    let mut records = Vec::new();
    reader.at += 1;
    reader.skip_space();
    if reader.take(b']') {
        return Ok(records);
    }
    loop {
        let start = reader.at;
        reader.skip_value()?;
        if records.len() >= MAX_RECORDS {
            return reader.fail("more than 10000 records");
        }
        records.push(start..reader.at);
        reader.skip_space();
        if reader.take(b',') {
            reader.skip_space();
        } else if reader.take(b']') {
            return Ok(records);
        } else {
            return reader.fail("neither a comma nor the list's end");
        }
    }
}
