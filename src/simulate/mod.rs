//! The simulated vendor: answers like the documented API, from a seed.
