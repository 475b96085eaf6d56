//! The demonstration, as the real program runs it where nobody looks on.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder that the server's user can reach, so that the server lives in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("koresync-demo-").tempdir_in("/tmp").expect("a folder");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), permissions).expect("permissions set");
    folder
}

fn demo(folder: &Path, contacts: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_koresync"));
    command.args(["demo", "--contacts", contacts, "--days", "10"]).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn words(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}\n{err}", output.status)
}

/// Whether a process names the folder, as the server does: its data lies there.
fn is_served_from(folder: &Path) -> bool {
    let ps = Command::new("ps").args(["-A", "-o", "args="]).output().expect("ps");
    String::from_utf8_lossy(&ps.stdout).lines().any(|line| line.contains(&*folder.to_string_lossy()))
}

fn wait_until(claim: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not within a minute: {claim}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A large demonstration whose server runs.
fn under_way(folder: &Path) -> Child {
    let child = demo(folder, "1000000").spawn().expect("a demonstration");
    wait_until("the server runs", || folder.join(".demo/postgres/data/postmaster.pid").exists());
    child
}

fn leaves_nothing(folder: &Path) {
    wait_until("the server is gone", || !is_served_from(folder));
    wait_until("its files are gone", || !folder.join(".demo/postgres").exists());
}

#[test]
fn without_a_terminal_it_equals_the_vendor_and_leaves_nothing_behind() {
    let folder = folder();
    let output = demo(folder.path(), "300").env("NO_COLOR", "1").output().expect("a demonstration");
    let words = words(&output);
    assert!(output.status.success(), "{words}");
    assert!(words.contains("equal to the vendor: 17 of 17 tables, checksums and all"), "{words}");
    assert!(!words.contains("instead"), "the server was not where it belongs: {words}");
    assert!(!words.contains('\u{1b}'), "colours without a terminal: {words}");
    assert!(output.stderr.iter().filter(|byte| **byte == b'\n').count() < 5, "a chatty log: {words}");
    leaves_nothing(folder.path());
    assert!(!folder.path().join(".demo").exists());
}

#[test]
fn told_to_end_it_is_partly_done_and_leaves_nothing_behind() {
    let folder = folder();
    let child = under_way(folder.path());
    let second = demo(folder.path(), "300").output().expect("a second demonstration");
    assert_eq!(second.status.code(), Some(75), "two at once: {}", words(&second));
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill");
    assert!(told.success());
    let output = child.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    leaves_nothing(folder.path());
    assert!(!folder.path().join(".demo").exists());
}

#[test]
fn killed_it_leaves_no_server_and_the_next_one_starts_at_once() {
    let folder = folder();
    let mut child = under_way(folder.path());
    child.kill().expect("killed");
    child.wait().expect("its end");
    let next = demo(folder.path(), "300").output().expect("the next demonstration");
    assert!(next.status.success(), "{}", words(&next));
    leaves_nothing(folder.path());
}
