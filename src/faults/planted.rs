//! The same in the tests' build.

use std::fmt::Write as _;
use std::io;
use std::sync::OnceLock;

use super::{Defect, Point};

/// What the environment asks for holds from here on, for as long as the process lives.
pub fn arm() {
    // Dropped, it would disarm the points.
    std::mem::forget(fail::FailScenario::setup());
}

/// Does what a test asked for at this point.
///
/// # Errors
/// As a connection that broke.
pub fn cross(point: Point) -> io::Result<()> {
    fail::fail_point!(point.name(), |action| match action.as_deref() {
        Some("kill") => std::process::abort(),
        _ => Err(io::Error::new(io::ErrorKind::ConnectionReset, format!("broken on purpose at {}", point.name()))),
    });
    Ok(())
}

/// Whether a test planted this defect.
pub fn is_planted(defect: Defect) -> bool {
    static PLANTED: OnceLock<Option<Defect>> = OnceLock::new();
    let planted = PLANTED.get_or_init(|| {
        let given = std::env::var("KORESYNC_DEFECT").ok().filter(|given| !given.is_empty())?;
        let found = Defect::ALL.into_iter().find(|defect| name(*defect) == given);
        Some(found.unwrap_or_else(|| panic!("no defect is called {given}")))
    });
    *planted == Some(defect)
}

/// `FenceNotChecked` is called `fence_not_checked`.
fn name(defect: Defect) -> String {
    let mut name = String::new();
    for c in format!("{defect:?}").chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        let _ = write!(name, "{}", c.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_defect_is_in_the_list_of_those_that_the_suite_catches() {
        let list = include_str!("../../tests/defects/list.txt");
        let listed: Vec<&str> = list
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert_eq!(listed, Defect::ALL.map(name));
    }
}
