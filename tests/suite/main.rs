//! The tests that need a database, a simulated vendor or the daemon's own process.

mod commands;
mod demo;
mod economy;
mod exits;
mod kills;
mod leases;
mod mirror;
mod private_postgres;
mod rechecks;
mod rereading;
mod secrets;
mod support;
mod vendor_page;
