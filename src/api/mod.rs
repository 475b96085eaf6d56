//! The client of the vendor's Raw Data API: one page a call, asked again until it is answered.
//!
//! Walking the pages of a window, and judging whether what was read is whole, belong to `sync`.

mod answer;
mod budget;
mod client;
mod complaint;
mod credentials;
mod endpoint;
mod error;
mod http;
mod large;
mod request;
mod retry;
mod retry_after;
mod token;

#[cfg(test)]
mod tests;

pub use budget::{BoxError, Budget, Unmetered};
pub use client::{Client, Page};
pub use credentials::{CredentialError, Credentials, SecretSource};
pub use endpoint::{BaseUrl, DateFormat, Endpoint, Placement, SettingError, Timeouts};
pub use error::{ASKED_AGAIN, ApiError, FAILURES, Outage, Remedy};
pub use large::LargeAnswers;
pub use request::PageRequest;
pub use retry::RetryPolicy;
pub use token::{NotAToken, TokenClaims, decode_claims};
