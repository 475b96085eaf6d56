//! What the tests stand on.

pub mod mirror;
pub mod postgres;
