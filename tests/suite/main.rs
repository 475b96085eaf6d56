//! The tests that need a database, a simulated vendor or the daemon's own process.

mod commands;
mod private_postgres;
mod support;
