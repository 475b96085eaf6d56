//! The cases of tests/fuzz for libFuzzer: as choices that decide a case, and as the text of a record.

#[path = "../cases.rs"]
mod cases;
#[path = "../children.rs"]
mod children;
#[path = "../choices.rs"]
mod choices;
#[path = "../corpus.rs"]
mod corpus;
#[path = "../mutate.rs"]
mod mutate;
#[path = "../properties.rs"]
mod properties;
#[path = "../record.rs"]
mod record;
#[path = "../rows.rs"]
mod rows;
#[path = "../tree.rs"]
mod tree;
#[path = "../values.rs"]
mod values;

use std::path::Path;
use std::sync::LazyLock;

use choices::Choices;
use corpus::Corpus;

static CORPUS: LazyLock<Corpus> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let corpus = Corpus::load(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    if let Err(failure) = cases::as_kept(&corpus) {
        panic!("{}", failure.what);
    }
    corpus
});

/// The case that these bytes choose, four of them a choice.
pub fn choices(bytes: &[u8]) {
    let list: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect();
    let mut made = Vec::new();
    if let Err(failure) = cases::run(&mut Choices::given(&list), &CORPUS, &mut made) {
        panic!("{}\n{}", failure.what, String::from_utf8_lossy(&failure.text));
    }
}

/// A text that may be a record or a page; the last bytes choose what is hidden.
pub fn text(bytes: &[u8]) {
    let list: Vec<u32> = bytes.iter().rev().take(16).map(|byte| u32::from(*byte)).collect();
    if let Err(what) = cases::text(bytes, &list) {
        panic!("{what}");
    }
}
