//! What the loop does with the ends of its tasks.

use tokio::task::JoinError;
use tokio::time::Instant;

use super::*;
use crate::act::StepError;
use crate::plan::{Problem, is_serving};
use jaco_types::{ErrorCode, ReplicaState};

impl Keeper {
    pub(super) fn finish(&mut self, done: Result<Done, JoinError>) -> Result<(), RuntimeError> {
        let now = self.now();
        match done.map_err(|error| RuntimeError::TaskFailed(error.to_string()))? {
            Done::Link => {}
            Done::CaughtUp(caught_up) => {
                self.catching_up = false;
                self.caught_up = caught_up;
                self.catch_up_at = now.mono_ms + RETRY_MS;
            }
            Done::Listed(result) => self.listed(result, now),
            Done::Looked { id, result } => self.looked(id, result, now),
            Done::Step(outcome) => self.step_ended(*outcome, now),
            Done::Pulled { id, generation, result } => self.pulled(&id, generation, result, now),
            Done::Reported(result) => {
                self.reporting = false;
                // A refusal means that somebody else has written: the next pass sees it, and needs no wait beyond the interval.
                let overtaken = matches!(result, Err(ProposeError::Refused { .. }));
                if self.reported(result) {
                    count(&self.shared.actor.stats.reports);
                } else if !overtaken {
                    self.report_at = now.mono_ms + RETRY_MS;
                }
            }
            Done::NodeReported(result) => {
                self.node_reporting = false;
                if !self.reported(result) {
                    self.node_report_at = now.mono_ms + RETRY_MS;
                }
            }
            Done::Cleaned { name, result } => self.cleaned(name, result, now),
        }
        Ok(())
    }

    /// Whether a transaction was committed; a refusal only means that the world went on.
    fn reported(&mut self, result: Result<(), ProposeError>) -> bool {
        match result {
            Ok(()) => {
                self.failures.recovered(Instant::now());
                true
            }
            Err(error) => {
                if self.failures.failed(&error.to_string(), Instant::now()).is_some() {
                    tracing::warn!(%error, "observations cannot be written now; they are kept and written later");
                }
                false
            }
        }
    }

    fn listed(&mut self, result: Result<Listing, EngineError>, now: Now) {
        self.listing = false;
        let listing = match result {
            Ok(listing) => {
                self.list_failures.recovered(Instant::now());
                self.list_failure = None;
                listing
            }
            Err(error) => {
                let reason = error.to_string();
                if !error.is_unreachable() && self.list_failures.failed(&reason, Instant::now()).is_some() {
                    tracing::warn!(%error, "the engine's containers cannot be listed");
                }
                self.list_failure = Some(reason);
                self.look_at = now.mono_ms + RETRY_MS;
                return;
            }
        };
        for (container, error) in &listing.unread {
            tracing::warn!(%container, %error, "the container cannot be inspected and is left as it is");
        }
        self.unread = !listing.unread.is_empty();
        let unread = listing.unread.iter().map(|(id, _)| id);
        let found: BTreeSet<&String> = listing.looks.iter().map(|look| &look.id).chain(unread).collect();
        let looked = &self.looked;
        // What was looked at after the listing began may be newer than it.
        self.containers.retain(|id, _| found.contains(id) || looked.get(id).is_some_and(|at| *at > listing.sequence));
        self.looked.retain(|id, at| found.contains(id) || *at > listing.sequence);
        self.networks = listing.networks.into_iter().map(|network| (network.name.clone(), network)).collect();
        for look in listing.looks {
            self.take_in(look, now);
        }
        let up = matches!(self.engine, EngineState::Up(_));
        self.listed = up;
        let tick = u64::try_from(self.shared.safety_tick.as_millis()).unwrap_or(u64::MAX);
        self.look_at = now.mono_ms.saturating_add(tick);
    }

    fn looked(&mut self, id: String, result: Result<Look, EngineError>, now: Now) {
        match result {
            Ok(look) => self.take_in(look, now),
            Err(error) => {
                tracing::debug!(container = %id, %error, "the container cannot be inspected");
                self.look_at = self.look_at.min(now.mono_ms + RETRY_MS);
            }
        }
        if self.looking.remove(&id) == Some(true) {
            self.look(id);
        }
    }

    /// Takes in one look unless a later one is known already.
    fn take_in(&mut self, look: Look, now: Now) {
        if self.looked.get(&look.id).is_some_and(|known| *known > look.sequence) {
            return;
        }
        let Some(container) = look.found else {
            self.looked.remove(&look.id);
            if let Some(gone) = self.containers.remove(&look.id)
                && let Some(memory) = replica_of(&gone).and_then(|id| self.memory.get_mut(&id))
            {
                memory.withdrawing.remove(&gone.id);
                memory.halted.remove(&gone.id);
            }
            return;
        };
        // Filters are the engine's word; the label is what counts.
        let view = self.shared.store.view();
        if view.cluster().is_none_or(|cluster| cluster.cluster_id != container.label(label::CLUSTER_ID)) {
            return;
        }
        if let Some(id) = replica_of(&container) {
            let well = match container.last_health_at_ms {
                None if is_serving(&container, now) => Some(now.wall_ms),
                checked => checked,
            };
            self.shared.actor.soft.update(&id, |soft| soft.last_health_at_ms = well.or(soft.last_health_at_ms));
            self.looked.insert(container.id.clone(), look.sequence);
            self.containers.insert(container.id.clone(), container);
        }
    }

    fn step_ended(&mut self, outcome: Outcome, now: Now) {
        self.busy.remove(&outcome.id);
        for look in outcome.looks {
            self.take_in(look, now);
        }
        for network in outcome.networks {
            self.cleaning.remove(&network.name);
            self.networks.insert(network.name.clone(), network);
        }
        let Some(memory) = self.memory.get_mut(&outcome.id) else { return };
        // The end of a step for another generation says nothing about this one.
        if outcome.generation.is_some_and(|generation| generation != memory.generation) {
            return;
        }
        match outcome.result {
            Ok(()) => {
                memory.step_done();
                if let Step::Start { container, again } = &outcome.step {
                    memory.withdrawing.remove(container);
                    memory.restart_count = memory.restart_count.saturating_add(u32::from(*again));
                }
            }
            Err(StepError::EngineAway(reason)) => {
                tracing::debug!(replica = %outcome.id, %reason, "the engine is away; the step is tried again");
                memory.step_postponed(now);
            }
            Err(StepError::Denied(reason)) => {
                tracing::debug!(replica = %outcome.id, %reason, "the step is tried again");
                memory.step_postponed(now);
            }
            Err(StepError::ImageGone) => {
                memory.image = ImageState::Unknown;
                memory.step_postponed(now);
            }
            Err(StepError::Problem(problem)) => {
                if memory.problem.as_ref() != Some(&problem) {
                    tracing::warn!(replica = %outcome.id, code = %problem.code, message = %problem.message, "a step failed");
                }
                memory.step_failed(problem, now);
            }
        }
    }

    fn pulled(&mut self, id: &ReplicaId, generation: u64, result: Result<(), PullError>, now: Now) {
        let Some(memory) = self.memory.get_mut(id) else { return };
        if memory.generation != generation || memory.image != ImageState::Pulling {
            return;
        }
        match result {
            Ok(()) => {
                memory.image = ImageState::Ready;
                memory.failed_steps = 0;
                memory.step_done();
            }
            Err(PullError::Failed { source, .. }) if source.is_unreachable() => {
                memory.image = ImageState::Unknown;
                memory.step_postponed(now);
            }
            Err(error @ (PullError::Failed { .. } | PullError::Absent { .. })) => {
                let (PullError::Failed { image, .. } | PullError::Absent { image }) = &error;
                let details = BTreeMap::from([("image".to_owned(), image.clone())]);
                let problem = Problem {
                    state: ReplicaState::Pending,
                    code: ErrorCode::ImagePullFailed,
                    message: error.to_string(),
                    details,
                };
                if memory.problem.as_ref() != Some(&problem) {
                    tracing::warn!(replica = %id, %error, "the image is not here");
                }
                memory.image = ImageState::Failed;
                memory.failed_pulls = memory.failed_pulls.saturating_add(1);
                memory.step_failed(problem, now);
            }
        }
    }

    fn cleaned(&mut self, name: String, result: Result<(), NetworkError>, now: Now) {
        match result {
            Ok(()) => {
                self.cleaning.remove(&name);
                // Needed again after all, or gone: the next full look says which.
                if !sight::is_needed(&self.shared.store.view(), self.shared.node, &name) {
                    self.networks.remove(&name);
                }
            }
            Err(error) => {
                tracing::debug!(network = %name, %error, "a network that nobody needs cannot be removed yet");
                self.cleaning.insert(name, Some(now.mono_ms + NETWORK_RETRY_MS));
            }
        }
    }
}
