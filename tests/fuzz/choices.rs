//! A sequence of choices that decides a case: drawn from a seed, or given.
//!
//! The same generators serve the seeded driver, proptest and the coverage-guided fuzzer. A zero is the simplest choice, and so
//! is what is drawn when a given list has ended, so that a case is made smaller by making its list smaller.

/// Where choices come from.
#[derive(Debug)]
enum Source<'g> {
    /// The state of a `SplitMix64` generator, and what it gave.
    Seed(u64, Vec<u32>),
    Given(std::slice::Iter<'g, u32>),
}

#[derive(Debug)]
pub struct Choices<'g>(Source<'g>);

impl<'g> Choices<'g> {
    /// Without end; each seed gives another sequence.
    pub fn of_seed(seed: u64) -> Self {
        Self(Source::Seed(seed, Vec::with_capacity(512)))
    }

    pub fn given(list: &'g [u32]) -> Self {
        Self(Source::Given(list.iter()))
    }

    /// What a seed gave so far.
    pub fn into_list(self) -> Vec<u32> {
        match self.0 {
            Source::Seed(_, drawn) => drawn,
            Source::Given(rest) => rest.copied().collect(),
        }
    }

    pub fn draw(&mut self) -> u32 {
        match &mut self.0 {
            Source::Seed(state, drawn) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = *state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                let choice = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or_default();
                drawn.push(choice);
                choice
            }
            Source::Given(rest) => rest.next().copied().unwrap_or_default(),
        }
    }

    /// From 0 up to, but not, `count`, which is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        self.draw() as usize % count
    }

    /// From `least` to `most`; a zero is the least.
    pub fn between(&mut self, least: i64, most: i64) -> i64 {
        let span = u64::try_from(most - least).unwrap_or_default() + 1;
        let drawn = u64::from(self.draw()) << 32 | u64::from(self.draw());
        least + i64::try_from(drawn % span).unwrap_or_default()
    }

    /// True so often of a hundred times; a zero is false.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.draw() % 100 + percent >= 100
    }

    pub fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }

    pub fn word(&mut self, of: &[&'static str]) -> &'static str {
        of[self.below(of.len())]
    }
}

/// The smallest list found for which `fails` still holds: pieces left out, then each choice made smaller.
pub fn shrink(mut list: Vec<u32>, fails: impl Fn(&[u32]) -> bool) -> Vec<u32> {
    let mut has_shrunk = true;
    while has_shrunk {
        has_shrunk = false;
        let mut length = list.len().next_power_of_two();
        while length > 0 {
            let mut at = 0;
            while at < list.len() {
                let mut shorter = list.clone();
                shorter.drain(at..list.len().min(at + length));
                if fails(&shorter) {
                    list = shorter;
                    has_shrunk = true;
                } else {
                    at += length;
                }
            }
            length /= 2;
        }
        for at in 0..list.len() {
            for smaller in [0, list[at] / 2, list[at].saturating_sub(1)] {
                let before = std::mem::replace(&mut list[at], smaller);
                if smaller < before && fails(&list) {
                    has_shrunk = true;
                } else {
                    list[at] = before;
                }
            }
        }
    }
    list
}
