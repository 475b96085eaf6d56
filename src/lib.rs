//! koresync keeps a PostgreSQL warehouse equal to what a contact centre's quality platform knows.
//!
//! The rooms, and which way their dependencies point, are described in ARCHITECTURE.md.

pub mod api;
pub mod cli;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod domain;
pub mod json;
pub mod normalise;
pub mod server;
#[cfg(feature = "demo")]
pub mod simulate;
pub mod sync;
pub mod telemetry;
pub mod warehouse;
