//! Others mean ill: the vendor's answers, who calls the daemon's pages, certificates, and texts that would be SQL.

mod answers;
mod certificates;
mod requests;
mod sql;
