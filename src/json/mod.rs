//! Reading JSON as it comes: a tolerant reader that borrows from its text and keeps numbers as written.
