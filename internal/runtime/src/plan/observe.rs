//! What is reported of a replica. Pure, and equal for equal input: an idle node has nothing to write.

use std::collections::BTreeMap;

use jaco_types::{Endpoint, ErrorCode, Outgoing, ReplicaId, ReplicaObserved, ReplicaState, ServiceSpec, network_name};

use super::{ImageState, MAX_FAILURES, Memory, Now, SUSTAINED_MS, UP_AFTER_MS, Wanted, World, split};
use crate::container::joined_networks;
use crate::engine::{Container, Health, ProcessState};

/// Whether a container does its work: healthy, or without a health check up for a second by the engine's start time.
pub fn is_serving(container: &Container, now: Now) -> bool {
    container.state == ProcessState::Running
        && match container.health {
            Some(Health::Healthy) => true,
            Some(Health::Starting | Health::Unhealthy) => false,
            // A start in the future means that the clock was set back since: it is up for longer than can be told.
            None => container.started_at_ms.is_some_and(|started| {
                started.saturating_add(UP_AFTER_MS) <= now.wall_ms || started > now.wall_ms.saturating_add(UP_AFTER_MS)
            }),
        }
}

/// The observation of a replica without its history; `None` when there is to be none.
pub fn observe(world: &World<'_>, id: &ReplicaId) -> Option<ReplicaObserved> {
    let committed = world.committed.get(id).copied();
    let Some(wanted) = world.wanted.get(id) else { return unwanted(world, id, committed) };
    let fresh = Memory::default();
    let memory = world.memory.get(id).unwrap_or(&fresh);
    let split = split(world, id);
    let outgoing = split
        .others
        .iter()
        .find(|other| is_serving(other, world.now) && !memory.withdrawing.contains_key(&other.id))
        .map(|other| Outgoing {
            generation: generation_of(committed, other),
            container_id: other.id.clone(),
            endpoints: endpoints(wanted, other),
        });
    let seen = judge(world, wanted, memory, split.current, outgoing.is_some());
    let serves = seen.state == ReplicaState::Running;
    Some(ReplicaObserved {
        id: id.clone(),
        deployment: wanted.desired.deployment.clone(),
        service: wanted.desired.service.clone(),
        node: world.node,
        generation: wanted.desired.generation,
        attempt: wanted.desired.attempt,
        state: seen.state,
        code: seen.code,
        message: seen.message,
        details: seen.details,
        container_id: split.current.map(|container| container.id.clone()),
        image: wanted.service.container.image.clone(),
        endpoints: split.current.filter(|_| serves).map(|current| endpoints(wanted, current)).unwrap_or_default(),
        outgoing,
        started_at_ms: split.current.and_then(|container| container.started_at_ms),
        restart_count: memory.restart_count,
        failures: memory.failures,
        history: Vec::new(),
    })
}

/// A replica that is no longer desired: `stopped` and without endpoints while its containers go, then no record.
fn unwanted(world: &World<'_>, id: &ReplicaId, committed: Option<&ReplicaObserved>) -> Option<ReplicaObserved> {
    let committed = committed?;
    let gone = split(world, id).others.is_empty();
    if !world.caught_up {
        return Some(committed.clone());
    }
    (!gone).then(|| ReplicaObserved {
        state: ReplicaState::Stopped,
        code: None,
        message: None,
        details: BTreeMap::new(),
        endpoints: Vec::new(),
        outgoing: None,
        ..committed.clone()
    })
}

fn generation_of(committed: Option<&ReplicaObserved>, container: &Container) -> u64 {
    let Some(observed) = committed else { return 0 };
    if observed.container_id.as_ref() == Some(&container.id) {
        return observed.generation;
    }
    let outgoing = observed.outgoing.as_ref().filter(|outgoing| outgoing.container_id == container.id);
    outgoing.map_or(0, |outgoing| outgoing.generation)
}

fn endpoints(wanted: &Wanted<'_>, container: &Container) -> Vec<Endpoint> {
    addresses(wanted.service, container, |key| network_name(&wanted.desired.deployment, key))
}

fn addresses(
    service: &ServiceSpec,
    container: &Container,
    engine_name: impl Fn(&jaco_types::NetworkName) -> String,
) -> Vec<Endpoint> {
    joined_networks(&service.container)
        .into_keys()
        .filter_map(|network| {
            let address = container.networks.get(&engine_name(&network)).copied().flatten()?;
            Some(Endpoint { network, address })
        })
        .collect()
}

/// State and reason.
struct Seen {
    state: ReplicaState,
    code: Option<ErrorCode>,
    message: Option<String>,
    details: BTreeMap<String, String>,
}

impl Seen {
    fn plain(state: ReplicaState) -> Self {
        Seen { state, code: None, message: None, details: BTreeMap::new() }
    }

    fn because(state: ReplicaState, message: impl Into<String>) -> Self {
        Seen { message: Some(message.into()), ..Seen::plain(state) }
    }
}

fn judge(
    world: &World<'_>,
    wanted: &Wanted<'_>,
    memory: &Memory,
    current: Option<&Container>,
    being_replaced: bool,
) -> Seen {
    let on_its_way = if being_replaced { ReplicaState::Updating } else { ReplicaState::Pending };
    if memory.exhausted {
        return exhausted(memory);
    }
    match current {
        Some(current) if current.is_up() => up(world, memory, current, on_its_way),
        Some(current) if memory.problem.is_none() && current.state == ProcessState::Exited => ended(memory),
        Some(_) | None => waiting(wanted, memory, on_its_way),
    }
}

fn up(world: &World<'_>, memory: &Memory, current: &Container, on_its_way: ReplicaState) -> Seen {
    if current.state == ProcessState::Paused {
        return Seen::because(ReplicaState::Degraded, "the container is paused");
    }
    if current.health == Some(Health::Unhealthy) {
        return Seen::because(ReplicaState::Degraded, "the health check fails");
    }
    if memory.withdrawing.contains_key(&current.id) {
        return Seen::because(ReplicaState::Degraded, "the container is being restarted");
    }
    if !is_serving(current, world.now) {
        return Seen::plain(on_its_way);
    }
    let since = memory.running_since.as_ref().map_or(world.now.wall_ms, |(_, since)| *since);
    if memory.flapping(world.now) && world.now.wall_ms.saturating_sub(since) < SUSTAINED_MS {
        return Seen::because(
            ReplicaState::Degraded,
            "it failed several times within a minute and is held back for 10 s",
        );
    }
    Seen::plain(ReplicaState::Running)
}

fn ending_details(memory: &Memory) -> BTreeMap<String, String> {
    let mut details = BTreeMap::new();
    if let Some(ending) = memory.ending {
        details.extend(ending.exit_code.map(|code| ("exit_code".to_owned(), code.to_string())));
        details.extend(ending.oom_killed.then(|| ("oom_killed".to_owned(), "true".to_owned())));
    }
    details
}

fn exhausted(memory: &Memory) -> Seen {
    let how = match memory.ending {
        Some(ending) if ending.oom_killed => "it ran out of memory the last time",
        Some(ending) if ending.exit_code.is_some() => "its process ended the last time",
        Some(_) => "its health check failed the last time",
        None => "see the logs",
    };
    Seen {
        state: ReplicaState::Failed,
        code: Some(ErrorCode::RestartExhausted),
        message: Some(format!("it failed {MAX_FAILURES} times in a row ({how}); apply or roll back to try again")),
        details: ending_details(memory),
    }
}

fn ended(memory: &Memory) -> Seen {
    match memory.ending {
        Some(ending) if memory.failures > 0 && ending.exit_code.is_some() => Seen {
            state: ReplicaState::Failed,
            code: Some(ErrorCode::ContainerExited),
            message: Some(
                if ending.oom_killed { "its process was out of memory and ended" } else { "its process ended" }
                    .to_owned(),
            ),
            details: ending_details(memory),
        },
        Some(_) if memory.failures > 0 => {
            Seen::because(ReplicaState::Degraded, "the health check failed and it is being restarted")
        }
        Some(_) | None => Seen::plain(ReplicaState::Pending),
    }
}

fn waiting(wanted: &Wanted<'_>, memory: &Memory, on_its_way: ReplicaState) -> Seen {
    let waiting_on = &wanted.desired.waiting_on;
    if !waiting_on.is_empty() {
        let names = waiting_on.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        return Seen {
            state: ReplicaState::Pending,
            code: Some(ErrorCode::DependsOnUnmet),
            message: Some(format!("it waits for {names}")),
            details: BTreeMap::from([("waiting_on".to_owned(), names)]),
        };
    }
    if let Some(problem) = &memory.problem {
        return Seen {
            state: problem.state,
            code: Some(problem.code),
            message: Some(problem.message.clone()),
            details: problem.details.clone(),
        };
    }
    match memory.image {
        ImageState::Pulling if memory.failed_pulls == 0 => Seen::plain(ReplicaState::Pulling),
        ImageState::Unknown | ImageState::Pulling | ImageState::Ready | ImageState::Failed => Seen::plain(on_its_way),
    }
}
