//! What processes cost, from `/proc`: CPU seconds and peak memory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

/// `USER_HZ`, which Linux has fixed at 100 for what it tells programs.
const TICKS_PER_SECOND: f64 = 100.0;
/// The peak of memory is kept by the kernel; what it grows by in the last moments of a process may be missed.
const LOOK_AT_MEMORY_EVERY: Duration = Duration::from_millis(20);

/// CPU of one process, in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    own: f64,
    /// Of its children that have ended and were waited for.
    ended_children: f64,
}

fn times(pid: &str) -> anyhow::Result<(Times, String)> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name in parentheses may hold anything; what follows it is numbers.
    let fields: Vec<&str> = text.rsplit_once(')').context("/proc is not as expected")?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    let times = Times {
        own: (ticks(11) + ticks(12)) / TICKS_PER_SECOND,
        ended_children: (ticks(13) + ticks(14)) / TICKS_PER_SECOND,
    };
    Ok((times, fields.get(1).copied().unwrap_or_default().to_owned()))
}

/// CPU seconds that a process has used.
pub fn cpu(pid: u32) -> anyhow::Result<f64> {
    Ok(times(&pid.to_string())?.0.own)
}

/// CPU seconds of a process, its children and those of them that have ended. Never descends.
pub fn cpu_of_family(pid: u32) -> anyhow::Result<f64> {
    // The children first: one that ends meanwhile is missed rather than counted twice.
    let parent = pid.to_string();
    let mut children = 0.0;
    for entry in std::fs::read_dir("/proc").context("there is no /proc: the bench runs on Linux alone")? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else { continue };
        if let Ok((times, its_parent)) = times(name)
            && its_parent == parent
        {
            children += times.own + times.ended_children;
        }
    }
    let (own, _) = times(&parent)?;
    Ok(own.own + own.ended_children + children)
}

/// Bytes of a line of `/proc/<pid>/status`, such as `VmHWM` and `VmRSS`.
pub fn memory(pid: u32, line: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'))?;
    Some(value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// What one run of a program cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// From its start to its end, in seconds.
    pub wall: f64,
    /// User and system, in seconds.
    pub cpu: f64,
    /// In bytes.
    pub peak_memory: u64,
}

/// A program that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program whose output goes to `log`.
    pub fn start(program: &Path, arguments: &[&str], log: &Path) -> anyhow::Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU seconds so far.
    pub fn cpu(&self) -> anyhow::Result<f64> {
        cpu(self.pid())
    }

    /// In bytes, so far.
    pub fn peak_memory(&self) -> u64 {
        memory(self.pid(), "VmHWM").unwrap_or(0)
    }

    /// SIGTERM, and the wait for a good end.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let told =
            Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().context("there is no `kill`")?;
        ensure!(told.success(), "the program has ended by itself: {}", self.said());
        let status = self.child.wait()?;
        self.ended_well(status)
    }

    fn ended_well(&self, status: ExitStatus) -> anyhow::Result<()> {
        ensure!(status.success(), "the program ended with {status}: {}", self.said());
        Ok(())
    }

    /// The end of its output.
    fn said(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        said[said.floor_char_boundary(said.len().saturating_sub(2_000))..].to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended needs neither.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

/// Runs a program to its end, which must be a good one. Its output goes to `log`.
pub fn run(program: &Path, arguments: &[&str], log: &Path) -> anyhow::Result<Cost> {
    // Children that were waited for: nobody else waits for any meanwhile.
    let before = times("self")?.0.ended_children;
    let began = Instant::now();
    let mut running = Running::start(program, arguments, log)?;
    let (pid, peak, has_ended) = (running.pid(), AtomicU64::new(0), AtomicBool::new(false));
    let (status, wall) = std::thread::scope(|scope| -> anyhow::Result<(ExitStatus, f64)> {
        scope.spawn(|| {
            while !has_ended.load(Ordering::Relaxed) {
                peak.fetch_max(memory(pid, "VmHWM").unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(LOOK_AT_MEMORY_EVERY);
            }
        });
        let status = running.child.wait();
        let wall = began.elapsed().as_secs_f64();
        has_ended.store(true, Ordering::Relaxed);
        Ok((status?, wall))
    })?;
    running.ended_well(status)?;
    let cpu = times("self")?.0.ended_children - before;
    ensure!(cpu > 0.0, "the CPU of {} is not told", program.display());
    Ok(Cost { wall, cpu, peak_memory: peak.into_inner() })
}
