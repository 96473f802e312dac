//! What heartbeats say of the machine: how busy it is, and how its disk does.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::log::LogUsage;

#[cfg(test)]
mod tests;

/// Tells the last sync of the log once: one slow sync followed by none is not a slow disk.
#[derive(Debug, Default)]
pub struct SyncMeter(AtomicU64);

impl SyncMeter {
    /// The last sync when there was one since the sample before; else zero.
    pub fn sample(&self, usage: &LogUsage) -> Duration {
        let before = self.0.swap(usage.syncs, Ordering::Relaxed);
        if before == usage.syncs { Duration::ZERO } else { usage.last_sync }
    }
}

/// Samples of the processors and of the memory, one in each interval.
#[derive(Debug)]
pub struct HostSampler {
    interval: Duration,
    last: Mutex<Option<(Instant, Busy)>>,
}

/// Ticks of all processors since the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Busy {
    busy: u64,
    all: u64,
}

impl HostSampler {
    /// A sampler with `node_status_interval`.
    pub fn new(interval: Duration) -> Self {
        HostSampler { interval, last: Mutex::new(None) }
    }

    /// Shares of the processors and of the memory in use, 0 to 1, when an interval has passed since the last ones. The first call only
    /// begins. The processors' share is the mean over the interval.
    pub fn sample(&self) -> Option<(f64, f64)> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if last.is_some_and(|(at, _)| now.duration_since(at) < self.interval) {
            return None;
        }
        let busy = busy(&fs::read_to_string("/proc/stat").ok()?)?;
        let before = last.replace((now, busy))?.1;
        let (_, memory) = memory(&fs::read_to_string("/proc/meminfo").ok()?)?;
        Some((share(before, busy), memory))
    }

    /// What the machine has: billionths of a core, and bytes; 0 where that cannot be told.
    pub fn capacity() -> (u64, u64) {
        let cores = std::thread::available_parallelism().map(std::num::NonZero::get).unwrap_or_default();
        let total = fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory(&text)).map(|(total, _)| total);
        (u64::try_from(cores).unwrap_or_default().saturating_mul(1_000_000_000), total.unwrap_or_default())
    }
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal (proc_pid_stat(5)); the guests' time is in
/// the user's already.
fn busy(stat: &str) -> Option<Busy> {
    let ticks: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .take(8)
        .map_while(|tick| tick.parse().ok())
        .collect();
    let idle = ticks.get(3)?.saturating_add(ticks.get(4).copied().unwrap_or_default());
    let all = ticks.iter().fold(0_u64, |sum, tick| sum.saturating_add(*tick));
    Some(Busy { busy: all.saturating_sub(idle), all })
}

fn share(before: Busy, after: Busy) -> f64 {
    let (busy, all) = (after.busy.saturating_sub(before.busy), after.all.saturating_sub(before.all));
    // Of few ticks; what a float loses is far below them.
    if all == 0 { 0.0 } else { (busy as f64 / all as f64).clamp(0.0, 1.0) }
}

/// All of the memory in bytes, and the share of it that is not available.
fn memory(meminfo: &str) -> Option<(u64, f64)> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let (total, available) = (field("MemTotal")?, field("MemAvailable")?);
    let used = total.checked_sub(available)?;
    (total > 0).then(|| (total.saturating_mul(1024), used as f64 / total as f64))
}
