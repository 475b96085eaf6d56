//! The tests that need a database, a simulated vendor or the daemon's own process.

mod commands;
mod database_faults;
mod demo;
mod economy;
mod erasing;
mod exits;
mod history;
mod hostile;
mod kills;
mod leases;
mod loading;
mod mirror;
mod privacy;
mod private_postgres;
mod quarantine;
mod rebuilding;
mod rechecks;
mod references;
mod rereading;
mod retention;
mod secrets;
mod settling;
mod support;
mod vendor_page;
mod verifying;
