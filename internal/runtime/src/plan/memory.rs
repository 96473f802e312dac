//! What is remembered of a replica between two looks: failures, waits, what is under way. Seeded from the committed observation, so
//! that a restart of the daemon neither forgives nor invents a failure.

use std::collections::{BTreeMap, BTreeSet};

use jaco_types::{ErrorCode, ReplicaDesired, ReplicaObserved, ReplicaState, StateChange};

use super::{MAX_FAILURES, Now, SUSTAINED_MS, is_serving};
use crate::engine::{Container, Health, ProcessState};

/// Longest wait between two attempts, milliseconds.
const MAX_BACKOFF_MS: u64 = 60_000;
/// Window in which restarts are counted as flapping, milliseconds.
const FLAP_WINDOW_MS: u64 = 60_000;
/// Failures in the window that make a replica flapping.
const FLAPS: usize = 3;
/// Failures noted this shortly before the engine went away were its own doing: it stops its containers before it closes its
/// connections, and gives each up to 15 s.
const ENGINE_STOP_MS: u64 = 20_000;

/// The wait after this many failures in a row, milliseconds: 1, 2, 4 … 60 s.
pub fn backoff(failures: u32) -> u64 {
    1_000_u64.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(MAX_BACKOFF_MS).min(MAX_BACKOFF_MS)
}

/// One run of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Engine id.
    pub container: String,
    /// Engine's start time.
    pub started_at_ms: Option<u64>,
}

impl Run {
    /// The last run of a container.
    pub fn of(container: &Container) -> Self {
        Run { container: container.id.clone(), started_at_ms: container.started_at_ms }
    }
}

/// Whether the image of the wanted generation is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageState {
    /// Not asked for yet.
    #[default]
    Unknown,
    /// On its way.
    Pulling,
    /// Here.
    Ready,
    /// The last attempt failed.
    Failed,
}

/// Why the last step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// State it puts the replica in.
    pub state: ReplicaState,
    /// Code.
    pub code: ErrorCode,
    /// One line.
    pub message: String,
    /// Facts.
    pub details: BTreeMap<String, String>,
}

/// How the last run that failed ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Exit code; `None` for an unhealthy episode.
    pub exit_code: Option<i64>,
    /// Out of memory.
    pub oom_killed: bool,
}

/// The memory of one replica.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// Generation it is about.
    pub generation: u64,
    /// Attempt it is about.
    pub attempt: u64,
    /// Failures in a row.
    pub failures: u32,
    /// Restarts since the generation began.
    pub restart_count: u32,
    /// Too many failures: waits for the next attempt.
    pub exhausted: bool,
    /// The run whose end was looked at last: each end counts once, however often it is seen.
    pub judged: Option<Run>,
    /// How the last failed run ended.
    pub ending: Option<Ending>,
    /// No attempt before this monotonic time.
    pub retry_at: Option<u64>,
    /// The image.
    pub image: ImageState,
    /// Pulls that failed since the generation or attempt began.
    pub failed_pulls: u32,
    /// Why the last step failed.
    pub problem: Option<Problem>,
    /// Steps that failed in a row.
    pub failed_steps: u32,
    /// The run that serves, and since when by the wall clock.
    pub running_since: Option<(Run, u64)>,
    /// Containers taken out of routing before their stop, with the monotonic time of it.
    pub withdrawing: BTreeMap<String, u64>,
    /// Containers whose next end is our own doing.
    pub halted: BTreeSet<String>,
    /// Monotonic times of recent failures.
    pub recent: Vec<u64>,
    /// The last ten states.
    pub history: Vec<StateChange>,
    /// Failures before the last one was counted, and when: taken back when it was the engine's doing.
    pub(super) undo: Option<(u64, u32)>,
}

impl Memory {
    /// The memory at the start of the daemon.
    pub fn seed(committed: Option<&ReplicaObserved>) -> Self {
        let Some(observed) = committed else { return Memory::default() };
        let run =
            observed.container_id.clone().map(|container| Run { container, started_at_ms: observed.started_at_ms });
        let failed = observed.failures > 0 || observed.code.is_some();
        Memory {
            generation: observed.generation,
            attempt: observed.attempt,
            failures: observed.failures,
            restart_count: observed.restart_count,
            exhausted: observed.code == Some(ErrorCode::RestartExhausted),
            judged: run.filter(|_| failed && observed.state != ReplicaState::Running),
            ending: failed.then(|| Ending {
                exit_code: observed.details.get("exit_code").and_then(|code| code.parse().ok()),
                oom_killed: observed.details.contains_key("oom_killed"),
            }),
            history: observed.history.clone(),
            ..Memory::default()
        }
    }

    /// Starts anew when the wanted generation or attempt is another one.
    pub fn follow(&mut self, desired: &ReplicaDesired) {
        if (self.generation, self.attempt) == (desired.generation, desired.attempt) {
            return;
        }
        let fresh = Memory::default();
        if self.generation != desired.generation {
            self.restart_count = 0;
            self.image = ImageState::Unknown;
        } else if self.image == ImageState::Failed {
            self.image = ImageState::Unknown;
        }
        self.generation = desired.generation;
        self.attempt = desired.attempt;
        self.failures = fresh.failures;
        self.exhausted = false;
        self.ending = None;
        self.retry_at = None;
        self.problem = None;
        self.failed_steps = 0;
        self.failed_pulls = 0;
        self.recent.clear();
        self.undo = None;
    }

    /// Looks at the replica's container. `watched` is false for the first look after the daemon started or the engine came back:
    /// an end in that time is repaired and not held against the replica.
    pub fn note(&mut self, container: &Container, now: Now, watched: bool) {
        let run = Run::of(container);
        if is_serving(container, now) {
            self.note_serving(container, run, now);
            return;
        }
        let unhealthy = container.state == ProcessState::Running && container.health == Some(Health::Unhealthy);
        let ended = container.state == ProcessState::Exited && container.started_at_ms.is_some();
        if !(unhealthy || ended) || self.judged.as_ref() == Some(&run) {
            return;
        }
        let ran = self.served_ms(container, &run, now);
        self.judged = Some(run);
        self.running_since = None;
        if ended && self.halted.remove(&container.id) {
            return;
        }
        if ended && !watched {
            self.retry_at = None;
            return;
        }
        if ran >= SUSTAINED_MS {
            self.failures = 0;
        }
        self.undo = Some((now.mono_ms, self.failures));
        self.failures += 1;
        self.recent.retain(|at| at + FLAP_WINDOW_MS > now.mono_ms);
        self.recent.push(now.mono_ms);
        self.ending =
            Some(Ending { exit_code: ended.then_some(container.exit_code), oom_killed: ended && container.oom_killed });
        self.retry_at = Some(now.mono_ms + backoff(self.failures));
        self.exhausted = self.failures >= MAX_FAILURES;
    }

    fn note_serving(&mut self, container: &Container, run: Run, now: Now) {
        // The unhealthy episode is over: the next one of this run, or its end, is another failure.
        if self.judged.as_ref() == Some(&run) {
            self.judged = None;
        }
        let since = match (&self.running_since, container.health) {
            (Some((known, since)), _) if *known == run => *since,
            (_, None) => container.started_at_ms.unwrap_or(now.wall_ms),
            (_, Some(_)) => now.wall_ms,
        };
        self.running_since = Some((run, since));
        if now.wall_ms.saturating_sub(since) >= SUSTAINED_MS && !self.exhausted {
            self.failures = 0;
            self.recent.clear();
            self.failed_steps = 0;
        }
    }

    /// How long the run that ended had been serving.
    fn served_ms(&self, container: &Container, run: &Run, now: Now) -> u64 {
        let end = container.finished_at_ms.filter(|_| !container.is_up()).unwrap_or(now.wall_ms);
        match &self.running_since {
            Some((known, since)) if known == run => end.saturating_sub(*since),
            _ if container.health.is_none() => end.saturating_sub(container.started_at_ms.unwrap_or(end)),
            _ => 0,
        }
    }

    /// The engine went away: a failure counted just before was its stopping of the containers.
    pub fn engine_lost(&mut self, now: Now) {
        if let Some((at, failures)) = self.undo.take()
            && at + ENGINE_STOP_MS > now.mono_ms
        {
            self.failures = failures;
            self.exhausted = false;
            self.retry_at = None;
            self.recent.pop();
        }
    }

    /// Whether it fails so often that showing each of its short lives as running would only make noise.
    pub fn flapping(&self, now: Now) -> bool {
        self.recent.iter().filter(|&&at| at + FLAP_WINDOW_MS > now.mono_ms).count() >= FLAPS
    }

    /// A step failed: remember why and wait longer each time.
    pub fn step_failed(&mut self, problem: Problem, now: Now) {
        self.failed_steps = self.failed_steps.saturating_add(1);
        self.retry_at = Some(now.mono_ms + backoff(self.failed_steps));
        self.problem = Some(problem);
    }

    /// A step could not be tried for a reason outside the replica.
    pub fn step_postponed(&mut self, now: Now) {
        self.retry_at = Some(now.mono_ms + backoff(1));
    }

    /// A step succeeded.
    pub fn step_done(&mut self) {
        self.problem = None;
        self.retry_at = None;
    }
}
