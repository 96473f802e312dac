//! What has to hold for hours, in short by default: exclusive services never run twice whatever is cut, and load elects nobody.
//!
//! `JACO_SOAK_CUTS` is the number of cuts (3), `JACO_SOAK_SEED` their order, `JACO_SOAK_MINUTES` the time under load (0: left out).
//! `make soak` sets the long values. Every figure is printed.

mod beats;
#[allow(dead_code)] // A module of the other test, of which this one needs a part.
#[path = "../cluster/cluster.rs"]
mod cluster;
mod exclusive;
mod faults;
mod load;
#[allow(dead_code)] // See above.
#[path = "../cluster/workload.rs"]
mod workload;

use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context;
use jaco_e2e::{Case, Shared, run};
use jaco_lab::{Capability, Lab, LabOptions, can_run};

/// Members of the cluster, all of them voters.
pub(crate) const MEMBERS: [usize; 3] = [1, 2, 3];

/// Hosts with engines and the image; every case begins with no cluster on them.
pub(crate) struct Rig {
    lab: Lab,
}

impl Rig {
    /// The hosts and their network.
    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }
}

impl Shared for Rig {
    fn start() -> anyhow::Result<Rig> {
        let rig = Rig { lab: Lab::start(LabOptions { hosts: MEMBERS.len(), ..LabOptions::default() })? };
        rig.lab.build_web_image()?;
        Ok(rig)
    }

    fn evidence(&self) -> String {
        let containers = |number| self.lab.host(number).docker(&["ps", "--all", "--no-trunc"]);
        let containers = MEMBERS.map(|number| containers(number).unwrap_or_else(|error| format!("{error:#}")));
        format!("{}\n{}", containers.join("\n"), self.lab.evidence())
    }

    fn clear(&mut self) -> anyhow::Result<()> {
        self.lab.network().heal()?;
        self.lab.each(cluster::erase)
    }
}

/// A number of the environment, or its default.
pub(crate) fn setting<T: FromStr>(name: &str, default: T) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is {text:?}")),
        Err(_) => Ok(default),
    }
}

const CASES: &[Case<Rig>] = &[
    ("an_overlap_is_measured_when_nobody_guards", exclusive::an_overlap_is_measured_when_nobody_guards),
    ("an_exclusive_service_never_runs_twice", exclusive::an_exclusive_service_never_runs_twice),
    ("load_elects_nobody", load::load_elects_nobody),
];

fn main() -> ExitCode {
    if !can_run("soak", &[Capability::Docker, Capability::Busybox]) {
        return ExitCode::SUCCESS;
    }
    run("soak", CASES)
}
