//! A service with `exclusive: true` under everything that parts its node from the cluster: never two at a time, and never away for longer
//! than it has to be.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use jaco_e2e::{Project, announce, eventually, pause};
use jaco_lab::Host;

use crate::beats::{self, Beats, Instance};
use crate::cluster::{Cluster, DOWN_AFTER};
use crate::faults::{self, Fault};
use crate::workload::{apply, engines_agree, only_host};
use crate::{MEMBERS, Rig, setting};

const NAME: &str = "beat";

/// The replacement runs within `node_down_after`, this, and the stop grace.
const REPLACED: Duration = Duration::from_secs(5);

/// Enough for what has no bar of its own.
const LONG: Duration = Duration::from_secs(60);

/// A cluster with the service on it.
struct Trial<'a> {
    rig: &'a Rig,
    cluster: Cluster<'a>,
    beats: Beats,
    /// What the service was last applied as.
    applied: Option<(Duration, bool)>,
}

impl<'a> Trial<'a> {
    fn new(rig: &'a Rig) -> anyhow::Result<Self> {
        let cluster = Cluster::form(rig.lab(), MEMBERS.len())?;
        Ok(Trial { rig, cluster, beats: Beats::new()?, applied: None })
    }

    /// Has the service run with this grace.
    fn deploy(&mut self, grace: Duration, obeys: bool) -> anyhow::Result<()> {
        if self.applied == Some((grace, obeys)) {
            return Ok(());
        }
        let jaco = format!(
            "deployment: {NAME}\nservices:\n  - name: {NAME}\n    replicas: 1\n    exclusive: true\n    reschedule: always\n"
        );
        let project = Project::new(&jaco, &self.beats.compose(grace, obeys))?;
        apply(self.cluster.host(1), &project)?;
        self.applied = Some((grace, obeys));
        Ok(())
    }

    /// Who runs it.
    fn owner(&self) -> anyhow::Result<usize> {
        eventually(LONG, "it runs", || {
            only_host(self.cluster.host(1), NAME).map_err(|error| {
                let status = self.cluster.host(1).jaco_json(&["status", NAME]);
                format!("{error:#}: {status:?}")
            })
        })
    }

    /// Who runs it and who leads, after it was moved so that they are the same or not.
    fn seat(&self, on_leader: bool) -> anyhow::Result<(usize, usize)> {
        let leader = self.cluster.leader(&MEMBERS)?;
        let owner = self.owner()?;
        if (owner == leader) == on_leader {
            return Ok((owner, leader));
        }
        let mut emptied: Vec<usize> = MEMBERS.into_iter().filter(|number| (*number == leader) != on_leader).collect();
        // Whoever runs it comes last, when there is one place left.
        emptied.sort_by_key(|number| *number == owner);
        for number in &emptied {
            self.cluster.host(1).jaco_json(&["node", "drain", self.cluster.host(*number).name()])?;
        }
        eventually(LONG, &format!("it runs on none of {emptied:?}"), || match only_host(self.cluster.host(1), NAME) {
            Ok(owner) if !emptied.contains(&owner) => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
        for number in &emptied {
            self.cluster.host(1).jaco_json(&["node", "uncordon", self.cluster.host(*number).name()])?;
        }
        self.cluster.settled(&MEMBERS)?;
        let (owner, leader) = (self.owner()?, self.cluster.leader(&MEMBERS)?);
        ensure!((owner == leader) == on_leader, "host{owner} runs it and host{leader} leads");
        Ok((owner, leader))
    }

    /// The newest start by the newest right.
    fn newest(&self) -> anyhow::Result<Instance> {
        self.beats.instances()?.into_iter().max_by_key(|one| (one.epoch, one.first)).context("it never started")
    }

    /// Waits for the first sign of a start by a later right than this one.
    fn successor(&self, of: &Instance) -> anyhow::Result<Instance> {
        eventually(LONG, "the service runs elsewhere", || {
            let newest = self.newest().map_err(|error| format!("{error:#}"))?;
            if newest.epoch > of.epoch { Ok(newest) } else { Err(format!("{newest:?}")) }
        })
    }

    /// Exactly one container, where the cluster says.
    fn whole(&self) -> anyhow::Result<()> {
        self.cluster.settled(&MEMBERS)?;
        engines_agree(self.cluster.host(1), &self.cluster.hosts(&MEMBERS), NAME, LONG)?;
        // The container that is left is the newest one, and it is alive.
        let newest = self.newest()?;
        eventually(LONG, "the newest container goes on", || {
            let count = self.newest().map_err(|error| format!("{error:#}"))?.count;
            if count > newest.count { Ok(()) } else { Err(format!("{newest:?}")) }
        })
    }

    /// One fault from a whole cluster to a whole cluster; gives the time to the replacement.
    fn cut(&mut self, number: usize, fault: Fault) -> anyhow::Result<Duration> {
        self.deploy(fault.grace(), fault.container_obeys())?;
        let (owner, leader) = self.seat(fault.strikes_leader())?;
        self.whole()?;
        let before = self.newest()?;
        let struck = fault.strike(self.rig, &self.cluster, owner, leader)?;
        let successor = self.successor(&before)?;
        let took = successor.first.saturating_sub(struck);
        let last =
            self.beats.instances()?.into_iter().filter(|one| one.epoch == before.epoch).map(|one| one.last).max();
        let last = last.context("its heartbeats are gone")?;
        let bar = DOWN_AFTER + REPLACED + fault.grace() + fault.allowance();
        fault.mend(self.rig, &self.cluster, owner)?;
        self.whole()?;
        let placed = self.owner()?;
        let finding = self.beats.finding()?;
        announce(&format!(
            "cut {number}, {fault:?}: from host{owner} to host{placed} (host{leader} led): ended after {:.2} s, replaced after {:.2} s \
             (bar {} s); {} starts so far, overlap {} ms",
            last.saturating_sub(struck).as_secs_f64(),
            took.as_secs_f64(),
            bar.as_secs(),
            finding.instances,
            finding.overlap.as_millis()
        ));
        ensure!(finding.overlap.is_zero(), "{fault:?}: two ran at a time: {:#?}", self.beats.instances()?);
        ensure!(took <= bar, "{fault:?}: the replacement ran only after {took:.2?} (bar {bar:?})");
        Ok(took)
    }
}

/// The cuts of `JACO_SOAK_CUTS`; overlap 0 over all of them.
pub(crate) fn an_exclusive_service_never_runs_twice(rig: &mut Rig) -> anyhow::Result<()> {
    let begin = Instant::now();
    let random = SystemTime::UNIX_EPOCH.elapsed()?.subsec_nanos();
    let (count, seed) = (setting("JACO_SOAK_CUTS", 3)?, setting("JACO_SOAK_SEED", u64::from(random))?);
    let order = faults::order(seed, count);
    faults::tell(seed, &order);
    let mut trial = Trial::new(rig)?;
    let mut longest = Duration::ZERO;
    for (number, fault) in (1..).zip(order) {
        let took =
            trial.cut(number, fault).with_context(|| format!("cut {number}, {fault:?}, JACO_SOAK_SEED={seed}"))?;
        longest = longest.max(took);
    }
    let finding = trial.beats.finding()?;
    announce(&format!(
        "{count} cuts in {:.0} s: {} starts, overlap {} ms, at least {:.2} s between two owners, longest replacement {:.2} s",
        begin.elapsed().as_secs_f64(),
        finding.instances,
        finding.overlap.as_millis(),
        finding.shortest_gap.unwrap_or_default().as_secs_f64(),
        longest.as_secs_f64()
    ));
    Ok(())
}

/// The measure itself: with the daemon paused *and* its guard killed nobody is left to end the container, which is outside of what is
/// promised; then two run at a time, and that has to show.
pub(crate) fn an_overlap_is_measured_when_nobody_guards(rig: &mut Rig) -> anyhow::Result<()> {
    let mut trial = Trial::new(rig)?;
    trial.deploy(Duration::from_secs(2), true)?;
    let (owner, leader) = trial.seat(false)?;
    trial.whole()?;
    let (before, host) = (trial.newest()?, trial.cluster.host(owner));
    Fault::DaemonPaused.strike(trial.rig, &trial.cluster, owner, leader)?;
    let guards = guards(host)?;
    ensure!(!guards.is_empty(), "there is no guard to kill");
    for guard in guards {
        host.run(&["kill", "-9", &guard])?.ok()?;
    }
    let successor = trial.successor(&before)?;
    let shown = Duration::from_millis(500);
    let overlap = eventually(Duration::from_secs(10), "two at a time are seen", || {
        let overlap = trial.beats.finding().map_err(|error| format!("{error:#}"))?.overlap;
        if overlap >= shown { Ok(overlap) } else { Err(format!("{overlap:?} after {successor:?}")) }
    })?;
    announce(&format!("without a guard an overlap of {} ms was measured", overlap.as_millis()));
    // Back again, the daemon ends what is not its own, and does not start it anew by what it knew when it was paused.
    Fault::DaemonPaused.mend(trial.rig, &trial.cluster, owner)?;
    trial.whole()?;
    let of_old = trial.beats.instances()?.into_iter().filter(|one| one.epoch <= before.epoch && one.last > before.last);
    ensure!(of_old.clone().count() == 1, "it was started again: {:#?}", of_old.collect::<Vec<_>>());
    let after = (beats::now()?, trial.beats.finding()?.overlap);
    while beats::now()? < after.0 + Duration::from_secs(1) {
        pause();
    }
    ensure!(trial.beats.finding()?.overlap == after.1, "the superseded container goes on");
    Ok(())
}

/// Process ids of a host's guards, as the host sees them.
fn guards(host: &Host) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(host.path("/proc")?)? {
        let entry = entry?;
        // Gone meanwhile: not the one.
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        if words.next().is_some_and(|program| program.ends_with(b"/jacod")) && words.next() == Some(b"guard".as_slice())
        {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}
