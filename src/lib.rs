//! koresync keeps a PostgreSQL warehouse equal to what a contact centre's quality platform knows.
//!
//! The rooms, with dependencies that run one way:
//!
//! - [`domain`]: windows, time, a contact as rows; no I/O. [`json`]: a tolerant reader.
//! - [`config`], [`telemetry`]: settings, logs and metrics.
//! - [`api`], [`normalise`], [`warehouse`]: the vendor's client, the mapping, the SQL. None knows another.
//! - [`sync`]: the engine that joins those three.
//! - [`faults`]: what tests do to the program on purpose; nothing in any other build.
//! - [`status`]: how things stand, for people. [`server`]: that as a page, health and metrics over HTTP. [`cli`]: the commands.
//! - `simulate`, `demo`: the simulated vendor and the demonstration, with the feature `demo` alone.
//!
//! What each rests on, why it is built so, and how to check it: ARCHITECTURE.md.

pub mod api;
pub mod cli;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod domain;
pub mod faults;
pub mod json;
pub mod normalise;
pub mod server;
#[cfg(feature = "demo")]
pub mod simulate;
pub mod status;
pub mod sync;
pub mod telemetry;
pub mod warehouse;
