//! What the daemon answers over HTTP: liveness, readiness, metrics.

mod listen;
pub mod notify;
mod pages;
mod readiness;

pub use listen::{Bound, bind};
pub use readiness::{CheckState, Readiness};

#[cfg(test)]
mod tests;
