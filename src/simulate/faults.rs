//! Faults by name, each with a probability: of requests by chance, of records by the contact's key.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::dice::Share;
use super::lifecycle::Shares;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Refused as if the rate limit were passed, in the disguise that the options name.
    RateLimited,
    /// The same in a given disguise, the status of the answer.
    #[serde(rename = "rate_limited_429")]
    RateLimited429,
    #[serde(rename = "rate_limited_403")]
    RateLimited403,
    #[serde(rename = "rate_limited_400")]
    RateLimited400,
    #[serde(rename = "rate_limited_200")]
    RateLimited200,
    #[serde(rename = "rate_limited_503")]
    RateLimited503,
    #[serde(rename = "http_500")]
    Http500,
    #[serde(rename = "http_503")]
    Http503,
    /// The connection is closed without an answer.
    Reset,
    /// The answer is held back for `stall_for`.
    Stall,
    /// The body ends too early: with a length that agrees, with a length that does not, or within a chunk.
    Truncated,
    /// An HTML page with status 200.
    #[serde(rename = "html_200")]
    Html200,
    /// A page holds one of its rows twice.
    Duplicated,
    /// A page after the first shows a row of the page before in place of its own first row.
    Slid,
    /// The rows of a page come in any order.
    Shuffled,
    /// A contact of the range is listed only after its first page was read, before all others.
    InsertWhilePaging,
    /// After the first page of a range was read its first contact goes and one more appears at its end: the total stays.
    /// The next look finds both.
    SwapWhilePaging,
    /// Listed hours or days after it ended.
    Late,
    /// First listed without an evaluation.
    ScoredLater,
    /// Its content changes one to three times.
    Changed,
    /// It is no longer listed from a moment on; half of those come back.
    Vanished,
    /// Unknown keys, and values of other types from which the meant value can be read.
    Drifted,
    /// Something in the record cannot be read.
    Malformed,
    /// Listed twice, once as it was before its evaluation.
    RepeatedIds,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAFault {
    #[error("a fault is given as name=probability, for example http_500=0.1")]
    Form,
    #[error("no fault is called `{0}`")]
    Name(String),
    #[error("the probability of a fault is between 0 and 1")]
    Probability,
}

impl Fault {
    pub fn named(name: &str) -> Result<Self, NotAFault> {
        serde_json::from_value(serde_json::Value::String(name.to_owned())).map_err(|_| NotAFault::Name(name.to_owned()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A fault and its probability, as `name=probability`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultRate {
    pub fault: Fault,
    pub probability: f64,
}

impl FromStr for FaultRate {
    type Err = NotAFault;

    fn from_str(text: &str) -> Result<Self, NotAFault> {
        let (name, probability) = text.split_once('=').ok_or(NotAFault::Form)?;
        let probability: f64 = probability.trim().parse().map_err(|_| NotAFault::Probability)?;
        Faults::check(probability)?;
        Ok(Self { fault: Fault::named(name.trim())?, probability })
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Faults(BTreeMap<Fault, f64>);

impl Faults {
    pub fn of(rates: &[FaultRate]) -> Self {
        Self(rates.iter().map(|rate| (rate.fault, rate.probability)).collect())
    }

    fn check(probability: f64) -> Result<(), NotAFault> {
        if (0.0..=1.0).contains(&probability) { Ok(()) } else { Err(NotAFault::Probability) }
    }

    pub fn set(&mut self, fault: Fault, probability: f64) -> Result<(), NotAFault> {
        Self::check(probability)?;
        self.0.insert(fault, probability);
        Ok(())
    }

    pub fn share(&self, fault: Fault) -> Share {
        Share::new(self.0.get(&fault).copied().unwrap_or(0.0))
    }

    /// The shares of the record faults.
    pub fn shares(&self) -> Shares {
        Shares {
            late: self.share(Fault::Late),
            scored_later: self.share(Fault::ScoredLater),
            changed: self.share(Fault::Changed),
            vanished: self.share(Fault::Vanished),
            drifted: self.share(Fault::Drifted),
            malformed: self.share(Fault::Malformed),
            repeated_ids: self.share(Fault::RepeatedIds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_by_name_and_probability() {
        let rate: FaultRate = "http_500=0.25".parse().expect("a fault");
        assert_eq!((rate.fault, rate.probability.to_string()), (Fault::Http500, "0.25".to_owned()));
        assert_eq!(Fault::named("insert_while_paging"), Ok(Fault::InsertWhilePaging));
        assert_eq!(Fault::RateLimited200.to_string(), "rate_limited_200");
        assert_eq!("http_500".parse::<FaultRate>(), Err(NotAFault::Form));
        assert_eq!("gremlins=1".parse::<FaultRate>(), Err(NotAFault::Name("gremlins".to_owned())));
        for wrong in ["late=1.1", "late=-0.1", "late=NaN", "late=x"] {
            assert_eq!(wrong.parse::<FaultRate>(), Err(NotAFault::Probability));
        }
    }
}
