//! The self-contained demonstration: a private PostgreSQL, the simulated vendor and the daemon.

pub mod postgres;
