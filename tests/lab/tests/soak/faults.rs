//! The ways in which a node loses touch with its leader, and their order.

use std::time::Duration;

use anyhow::ensure;
use jaco_e2e::announce;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::cluster::{Cluster, options};
use crate::{MEMBERS, Rig, beats};

/// What happens to the node that runs the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The others do not hear it; it hears them.
    CutOutwards,
    /// It does not hear the others; they hear it.
    CutInwards,
    /// Neither hears the other.
    Cut,
    /// Its daemon is stopped by a signal and goes on when all is over.
    DaemonPaused,
    /// Its daemon is killed.
    DaemonKilled,
    /// Cut off, and its container ends only by SIGKILL.
    SlowStop,
    /// It leads, and is cut off.
    LeaderCut,
    /// Cut off, and then the leader is killed and started again.
    LeaderRestarted,
}

const ALL: [Fault; 8] = [
    Fault::CutOutwards,
    Fault::CutInwards,
    Fault::Cut,
    Fault::DaemonPaused,
    Fault::DaemonKilled,
    Fault::SlowStop,
    Fault::LeaderCut,
    Fault::LeaderRestarted,
];

/// So many faults: all kinds before any comes again, each time in another order.
pub(crate) fn order(seed: u64, count: usize) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut order = Vec::new();
    while order.len() < count {
        let mut kinds = ALL;
        kinds.shuffle(&mut random);
        order.extend(kinds);
    }
    order.truncate(count);
    order
}

impl Fault {
    /// The service's stop grace during it.
    pub(crate) fn grace(self) -> Duration {
        if self.container_obeys() { Duration::from_secs(2) } else { Duration::from_secs(4) }
    }

    /// Whether the service's container ends at its stop signal.
    pub(crate) fn container_obeys(self) -> bool {
        self != Fault::SlowStop
    }

    /// Whether the leader is to run the service.
    pub(crate) fn strikes_leader(self) -> bool {
        self == Fault::LeaderCut
    }

    /// What the bar is longer by: a new leader counts from its own election.
    pub(crate) fn allowance(self) -> Duration {
        match self {
            Fault::LeaderCut | Fault::LeaderRestarted => Duration::from_secs(2),
            Fault::CutOutwards
            | Fault::CutInwards
            | Fault::Cut
            | Fault::DaemonPaused
            | Fault::DaemonKilled
            | Fault::SlowStop => Duration::ZERO,
        }
    }

    /// Does it; gives the time from which on the replacement is waited for.
    pub(crate) fn strike(
        self,
        rig: &Rig,
        cluster: &Cluster<'_>,
        owner: usize,
        leader: usize,
    ) -> anyhow::Result<Duration> {
        let (network, host) = (rig.lab().network(), cluster.host(owner));
        let others = || MEMBERS.into_iter().filter(|other| *other != owner).map(|other| cluster.host(other));
        let begin = beats::now()?;
        match self {
            Fault::CutOutwards => others().try_for_each(|other| network.cut_one_way(host, other))?,
            Fault::CutInwards => others().try_for_each(|other| network.cut_one_way(other, host))?,
            Fault::Cut | Fault::SlowStop | Fault::LeaderCut => network.isolate(host)?,
            Fault::DaemonPaused => host.jacod().pause()?,
            Fault::DaemonKilled => host.jacod().kill9()?,
            Fault::LeaderRestarted => {
                ensure!(owner != leader);
                network.isolate(host)?;
                let led = cluster.host(leader);
                led.jacod().kill9()?;
                led.start_jacod(&options())?;
                return beats::now();
            }
        }
        Ok(begin)
    }

    /// Undoes it.
    pub(crate) fn mend(self, rig: &Rig, cluster: &Cluster<'_>, owner: usize) -> anyhow::Result<()> {
        rig.lab().network().heal()?;
        let host = cluster.host(owner);
        match self {
            Fault::DaemonPaused => host.jacod().resume(),
            Fault::DaemonKilled => host.start_jacod(&options()).map(|_| ()),
            Fault::CutOutwards
            | Fault::CutInwards
            | Fault::Cut
            | Fault::SlowStop
            | Fault::LeaderCut
            | Fault::LeaderRestarted => Ok(()),
        }
    }
}

/// Says the order, so that it can be had again.
pub(crate) fn tell(seed: u64, order: &[Fault]) {
    announce(&format!("{} cuts in the order of JACO_SOAK_SEED={seed}", order.len()));
}
