//! The engine: what to read, whether a read counts, and when to stop.
//!
//! A reconciler: all state is in the database, every step may be repeated, and any number of engines
//! may work on one warehouse.

mod board;
pub mod commit;
pub mod engine;
pub mod erasing;
mod hands;
mod heartbeat;
pub mod intake;
mod keeping;
mod look;
pub mod paging;
mod piece;
mod planner;
mod private;
pub mod prove;
pub mod reading;
pub mod rebuild;
pub mod recheck;
pub mod requeue;
mod shares;
pub mod sizing;
pub mod source;
pub mod tightening;
pub mod verify;
mod worker;

pub use engine::{Engine, Mode, Outcome};
pub use recheck::Rule;
pub use source::{Options, Retention, Source};
