//! What the daemon talks about, without any I/O: keys, windows, time, and a contact as rows.

pub mod clock;
pub mod decimal;
pub mod hash;
pub mod key;
pub mod payload;
pub mod privacy;
pub mod rows;
pub mod settling;
pub mod window;
pub mod words;

pub use clock::{Clock, SystemClock};
pub use decimal::Decimal;
pub use hash::ContentHash;
pub use key::contact_key;
pub use payload::Payload;
pub use settling::{Delays, Settle};
pub use window::Window;
pub use words::{coarse, grouped};
