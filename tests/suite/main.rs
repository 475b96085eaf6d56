//! The tests that need a database, a simulated vendor or the daemon's own process.

mod commands;
mod economy;
mod mirror;
mod private_postgres;
mod support;
mod vendor_page;
