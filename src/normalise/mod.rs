//! From one record's raw text to its rows: a pure function.
