//! One case: choices decide what is made and what must hold of it.

use crate::choices::Choices;
use crate::corpus::{Base, Corpus};
use crate::mutate;
use crate::properties;
use crate::record::Known;

/// A case that failed, and what it was about.
#[derive(Debug)]
pub struct Failure {
    pub what: String,
    /// The record or the page.
    pub text: Vec<u8>,
    /// Of a text of which the same must hold whatever it says: the choices with which [`text`] failed.
    pub chosen: Option<Vec<u32>>,
}

/// Choices that decide what is hidden of a text.
const HIDING: usize = 16;

/// What must hold of any text.
pub fn text(raw: &[u8], chosen: &[u32]) -> properties::Held {
    properties::record(raw)?;
    properties::nothing_between(raw)?;
    properties::hidden(raw, &mut Choices::given(chosen))
}

/// Runs one case. A panic within is a failure as well, for whoever catches it; `made` then holds the text.
pub fn run(choices: &mut Choices<'_>, corpus: &Corpus, made: &mut Vec<u8>) -> Result<(), Failure> {
    let mut chosen: Option<Vec<u32>> = None;
    let held = match choices.below(8) {
        0..4 => {
            *made = mutate::record(choices, corpus);
            text(made, chosen.insert((0..HIDING).map(|_| choices.draw()).collect()))
        }
        4 => page(choices, corpus, made),
        _ => valid(choices, made),
    };
    held.map_err(|what| Failure { what, text: std::mem::take(made), chosen })
}

/// A failing text with every member and element left out without which it still fails.
pub fn without_parts(mut failure: Failure, fails: impl Fn(&[u8], &[u32]) -> Option<String>) -> Failure {
    let Some(chosen) = failure.chosen.clone() else { return failure };
    let mut place = 0;
    while let Ok(text) = String::from_utf8(failure.text.clone()) {
        let base = Base::new(String::new(), text);
        let Some(spot) = base.spots.get(place) else { break };
        let mut shorter = base.text.clone();
        shorter.replace_range(spot.whole.clone(), "");
        match fails(shorter.as_bytes(), &chosen) {
            Some(what) if !spot.whole.is_empty() => failure = Failure { what, text: shorter.into_bytes(), ..failure },
            _ => place += 1,
        }
    }
    failure
}

/// The records of the corpus as they are, each under several settings of privacy and in several pages.
pub fn as_kept(corpus: &Corpus) -> Result<(), Failure> {
    for base in &corpus.bases {
        let raw = base.text.trim().as_bytes();
        let records = [raw.to_vec(), raw.to_vec()];
        for seed in 0..8 {
            let mut choices = Choices::of_seed(seed);
            let chosen: Vec<u32> = (0..HIDING).map(|_| choices.draw()).collect();
            text(raw, &chosen)
                .and_then(|()| properties::is_cut(&properties::page_of(&records, &mut choices), &records))
                .map_err(|what| Failure { what: format!("{}: {what}", base.name), text: raw.to_vec(), chosen: None })?;
        }
    }
    Ok(())
}

fn page(choices: &mut Choices<'_>, corpus: &Corpus, made: &mut Vec<u8>) -> properties::Held {
    let records: Vec<Vec<u8>> = (0..choices.below(4)).map(|_| mutate::record(choices, corpus)).collect();
    *made = properties::page_of(&records, choices);
    properties::is_cut(made, &records)
}

fn valid(choices: &mut Choices<'_>, made: &mut Vec<u8>) -> properties::Held {
    let known = Known::draw(choices);
    let text = known.write(choices);
    *made = text.clone().into_bytes();
    properties::rebuilds(&known, &text)?;
    properties::record(made)?;
    if choices.percent(25) {
        properties::is_one_content(&text, &known.write(choices))?;
        properties::hidden(made, choices)?;
    }
    Ok(())
}
