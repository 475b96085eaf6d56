//! Fuzzing within the ordinary suite: some seconds of it, by proptest. `make fuzz` goes on for as long as told.

mod cases;
mod children;
mod choices;
mod corpus;
mod mutate;
mod properties;
mod record;
mod rows;
mod tree;
mod values;

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;

use choices::Choices;
use corpus::Corpus;

static CORPUS: LazyLock<Corpus> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    Corpus::load(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
});

fn holds(list: &[u32]) -> Result<(), TestCaseError> {
    let mut made = Vec::new();
    let Err(failure) = cases::run(&mut Choices::given(list), &CORPUS, &mut made) else { return Ok(()) };
    let failure = cases::without_parts(failure, |text, chosen| cases::text(text, chosen).err());
    Err(TestCaseError::fail(format!("{}\n{}", failure.what, String::from_utf8_lossy(&failure.text))))
}

fn choices_of(kind: u32, most: usize) -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(any::<u32>(), 0..most).prop_map(move |mut list| {
        list.insert(0, kind);
        list
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4_000) })]

    #[test]
    fn a_mutated_record_becomes_rows_or_a_reason(list in choices_of(0, 80)) {
        holds(&list)?;
    }

    #[test]
    fn a_page_is_cut_into_exactly_its_records(list in choices_of(4, 200)) {
        holds(&list)?;
    }

    #[test]
    fn the_rows_of_a_valid_record_rebuild_every_value_that_was_sent(list in choices_of(5, 1_200)) {
        holds(&list)?;
    }
}

#[test]
fn the_corpus_holds_what_it_held() {
    assert!(CORPUS.kept > 0, "the corpus is empty");
    if let Err(failure) = cases::as_kept(&CORPUS) {
        panic!("{}\n{}", failure.what, String::from_utf8_lossy(&failure.text));
    }
}

#[test]
fn a_failing_case_becomes_small() {
    let fails = |list: &[u32]| list.iter().filter(|choice| **choice >= 1_000).count() >= 2;
    let mut drawn = Choices::of_seed(7);
    for _ in 0..200 {
        drawn.draw();
    }
    assert_eq!(choices::shrink(drawn.into_list(), fails), [1_000, 1_000]);
}
