//! The self-contained demonstration: a private PostgreSQL, the simulated vendor and what to ask of the mirror.

pub mod comparison;
pub mod place;
pub mod postgres;
pub mod questions;
pub mod stage;
