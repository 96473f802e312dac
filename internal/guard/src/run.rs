//! The guard's life: wait for a change of the charge or for the next deadline, and act on what is there then.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use crate::charge::{Charge, ChargeDir, ChargeError, Held, boot_time};
use crate::engine;
use crate::journal::say;
use crate::processes::{ControlGroups, Processes};

#[cfg(test)]
mod tests;

/// A daemon that is well stops its containers itself, a moment before the guard would.
const PRECEDENCE: Duration = Duration::from_millis(200);
/// What is left is killed this long before the time is over.
const KILL_MARGIN: Duration = Duration::from_millis(500);
/// After that, what was on its way up when the time was over is looked for, often at first.
const SWEEP: Duration = Duration::from_millis(50);
const SWEEP_LATER: Duration = Duration::from_millis(500);
const OFTEN: Duration = Duration::from_secs(10);
/// A guard that has nothing to guard for this long ends; the daemon starts another one when there is something.
const IDLE: Duration = Duration::from_secs(60);

/// What a guard is started with.
#[derive(Debug, Clone)]
pub struct GuardOptions {
    /// The directory it shares with the daemon.
    pub dir: PathBuf,
    /// Socket of the container engine.
    pub engine_socket: PathBuf,
}

/// Why a guard ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its directory.
    #[error(transparent)]
    Charge(#[from] ChargeError),
    /// The kernel refused what it waits by.
    #[error("the guard cannot wait")]
    Wait(#[source] rustix::io::Errno),
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Due<'a> {
    /// These are to be stopped, each by its time, whatever it wants.
    pub(crate) stop: Vec<(&'a Held, Duration)>,
    /// Nothing of these may be left.
    pub(crate) kill: Vec<&'a Held>,
    /// Nothing else before this time of the boot-time clock; `None` when nothing is charged.
    pub(crate) again: Option<Duration>,
}

/// What a charge asks for at a time. Pure.
pub(crate) fn due(charge: &Charge, now: Duration) -> Due<'_> {
    let mut due = Due::default();
    for held in &charge.containers {
        let time = held.grace.min(charge.stop_within);
        let kill_at = charge.lease_until.saturating_add(time.saturating_sub(KILL_MARGIN));
        let stop_at = charge.lease_until.saturating_add(PRECEDENCE.min(time / 4)).min(kill_at);
        let again = if now < stop_at {
            stop_at
        } else if now < kill_at {
            due.stop.push((held, kill_at));
            kill_at
        } else {
            due.kill.push(held);
            now.saturating_add(if now < kill_at.saturating_add(OFTEN) { SWEEP } else { SWEEP_LATER })
        };
        due.again = Some(due.again.map_or(again, |other| other.min(again)));
    }
    due
}

/// Runs a guard until it has had nothing to guard for a minute; beside another one it waits for its place. To be called first thing
/// in a process of its own.
///
/// # Errors
/// See [`RunError`].
pub fn run(options: &GuardOptions) -> Result<(), RunError> {
    run_with(options, &mut ControlGroups)
}

/// [`run`] with another way to find processes.
///
/// # Errors
/// See [`RunError`].
pub fn run_with(options: &GuardOptions, processes: &mut dyn Processes) -> Result<(), RunError> {
    // Signals to the daemon's session and process group are not for the guard. One that leads its session already stays in it.
    let _own_session = rustix::process::setsid();
    // Where the system allows it: the guard is not what is given up when memory runs out.
    let _best_effort = std::fs::write("/proc/self/oom_score_adj", "-900");
    let dir = ChargeDir::new(&options.dir);
    loop {
        let lock = dir.lock()?;
        Guard::new(options, &dir)?.watch(processes)?;
        drop(lock);
        // Between the last look and the end of the lock the daemon may have seen a guard and relied on it.
        if dir.read()?.is_none_or(|charge| charge.containers.is_empty()) {
            return Ok(());
        }
    }
}

struct Guard<'a> {
    options: &'a GuardOptions,
    dir: &'a ChargeDir,
    changes: OwnedFd,
    timer: OwnedFd,
    /// Containers whose stop was asked for since the lease ended.
    stopped: BTreeSet<String>,
}

impl<'a> Guard<'a> {
    fn new(options: &'a GuardOptions, dir: &'a ChargeDir) -> Result<Self, RunError> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let changes = inotify::init(flags).map_err(RunError::Wait)?;
        inotify::add_watch(&changes, &options.dir, inotify::WatchFlags::MOVED_TO).map_err(RunError::Wait)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        // On the boot-time clock: a machine that slept past the deadline acts when it wakes.
        let timer = rustix::time::timerfd_create(TimerfdClockId::Boottime, flags).map_err(RunError::Wait)?;
        Ok(Guard { options, dir, changes, timer, stopped: BTreeSet::new() })
    }

    /// Acts until nothing has been charged for a minute.
    fn watch(&mut self, processes: &mut dyn Processes) -> Result<(), RunError> {
        let mut idle_since: Option<Duration> = None;
        loop {
            // One that cannot be read changes nothing: it is looked at again.
            let charge = match self.dir.read() {
                Ok(charge) => charge.unwrap_or_default(),
                Err(error) => {
                    say(&error.to_string());
                    self.wait(boot_time() + SWEEP_LATER)?;
                    continue;
                }
            };
            let now = boot_time();
            let due = due(&charge, now);
            if due.stop.is_empty() && due.kill.is_empty() {
                self.stopped.clear();
            }
            for (held, kill_at) in due.stop {
                self.stop(held, kill_at);
            }
            let ids: Vec<&str> = due.kill.iter().map(|held| held.id.as_str()).collect();
            let killed = if ids.is_empty() { 0 } else { processes.kill(&ids) };
            if killed > 0 {
                say(&format!("the lease has ended: {killed} processes of exclusive containers were killed"));
            }
            let until = match due.again {
                Some(again) => {
                    idle_since = None;
                    again
                }
                None => {
                    let end = *idle_since.get_or_insert(now) + IDLE;
                    if now >= end {
                        return Ok(());
                    }
                    end
                }
            };
            self.wait(until)?;
        }
    }

    /// Asks the engine, each container on a thread of its own: an engine that hangs holds nothing back.
    fn stop(&mut self, held: &Held, kill_at: Duration) {
        if !self.stopped.insert(held.id.clone()) {
            return;
        }
        let left = kill_at.saturating_sub(boot_time());
        let (socket, id, grace) = (self.options.engine_socket.clone(), held.id.clone(), held.grace.min(left));
        say(&format!("the lease has ended: container {id} is stopped within {} s", left.as_secs_f32()));
        let asked = std::thread::Builder::new().name("stop".to_owned()).spawn(move || {
            if let Err(error) = engine::stop(&socket, &id, grace) {
                say(&format!("container {id} was not stopped by the engine: {error}"));
            }
        });
        if let Err(error) = asked {
            say(&format!("no thread to stop container {} on: {error}", held.id));
        }
    }

    /// Until a change of the directory, or this time.
    fn wait(&self, until: Duration) -> Result<(), RunError> {
        let at = until.max(Duration::from_nanos(1));
        let value =
            Timespec { tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(at.subsec_nanos()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once).map_err(RunError::Wait)?;
        let mut fds = [
            PollFd::from_borrowed_fd(self.changes.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.timer.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(RunError::Wait(error)),
        }
        // What exactly changed does not matter; that it is read does.
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        while rustix::io::read(&self.changes, &mut buffer).is_ok_and(|(read, _)| !read.is_empty()) {}
        Ok(())
    }
}
