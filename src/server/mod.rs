//! What the daemon answers over HTTP: liveness, readiness, metrics, and how things stand as a page.

mod listen;
pub mod notify;
mod pages;
mod readiness;
mod status;

pub use listen::{Bound, bind};
pub use readiness::{CheckState, Readiness};

#[cfg(test)]
mod tests;
