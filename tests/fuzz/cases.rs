//! One case: choices decide what is made and what must hold of it.

use crate::choices::Choices;
use crate::corpus::Corpus;
use crate::mutate;
use crate::properties;
use crate::record::Known;

/// A case that failed, and what it was about.
#[derive(Debug)]
pub struct Failure {
    pub what: String,
    /// The record or the page.
    pub text: Vec<u8>,
}

/// Runs one case. A panic within is a failure as well, for whoever catches it; `made` then holds the text.
pub fn run(choices: &mut Choices<'_>, corpus: &Corpus, made: &mut Vec<u8>) -> Result<(), Failure> {
    let held = match choices.below(8) {
        0..4 => mutated(choices, corpus, made),
        4 => page(choices, corpus, made),
        _ => valid(choices, made),
    };
    held.map_err(|what| Failure { what, text: std::mem::take(made) })
}

/// The records of the corpus as they are, each under several settings of privacy and in several pages.
pub fn as_kept(corpus: &Corpus) -> Result<(), Failure> {
    for base in &corpus.bases {
        let text = base.text.trim().as_bytes();
        let records = [text.to_vec(), text.to_vec()];
        for seed in 0..8 {
            properties::record(text)
                .and_then(|()| properties::hidden(text, &mut Choices::of_seed(seed)))
                .and_then(|()| {
                    properties::is_cut(&properties::page_of(&records, &mut Choices::of_seed(seed)), &records)
                })
                .map_err(|what| Failure { what: format!("{}: {what}", base.name), text: text.to_vec() })?;
        }
    }
    Ok(())
}

fn mutated(choices: &mut Choices<'_>, corpus: &Corpus, made: &mut Vec<u8>) -> properties::Held {
    *made = mutate::record(choices, corpus);
    properties::record(made)?;
    properties::nothing_between(made)?;
    properties::hidden(made, choices)
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
