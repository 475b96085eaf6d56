//! The members of one object, without reading their values.

use std::borrow::Cow;
use std::ops::Range;

use super::SyntaxError;
use super::read::Reader;

/// Names each member of the object that fills `text`, with its value as a range of bytes, in order.
///
/// Values are stepped over by their brackets and strings, so a fault inside one may go unseen.
pub fn visit_members<'a>(text: &'a [u8], mut visit: impl FnMut(Cow<'a, str>, Range<usize>)) -> Result<(), SyntaxError> {
    let mut reader = Reader::new(text, None);
    reader.skip_byte_order_mark();
    reader.skip_space();
    if !reader.take(b'{') {
        return reader.fail("a text that is not an object");
    }
    reader.skip_space();
    let mut ended = reader.take(b'}');
    while !ended {
        let key = reader.key()?;
        let start = reader.at;
        reader.skip_value()?;
        visit(key, start..reader.at);
        reader.skip_space();
        if reader.take(b',') {
            reader.skip_space();
        } else if reader.take(b'}') {
            ended = true;
        } else {
            return reader.fail("neither a comma nor the object's end");
        }
    }
    reader.end()
}
