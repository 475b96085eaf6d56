//! What the tests stand on.

pub mod disk;
pub mod dump;
pub mod mirror;
pub mod postgres;
pub mod process;
pub mod site;
pub mod standing;
pub mod vendor;
