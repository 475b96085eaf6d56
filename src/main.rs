//! Keeps a PostgreSQL warehouse equal to what a contact centre's quality platform knows.

use std::process::ExitCode;

fn main() -> ExitCode {
    koresync::cli::run_process()
}
