//! The engine: what to read, whether a read counts, and when to stop.
