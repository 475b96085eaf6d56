//! The client of the vendor's Raw Data API.
