//! What exclusive replicas need on this node: the lease that the session brings, and the guard that outlives this process.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use jaco_controlplane::BootClock;
use jaco_guard::{ChargeDir, GuardOptions, Held};
use jaco_runtime::{Charge, Exclusive, Guard, Lease, LeaseHandle};

use crate::config::Config;

/// Where this daemon and its guard meet: beside the control socket, which is in memory.
pub(crate) fn charge_dir(config: &Config) -> ChargeDir {
    let beside = config.unix_socket.parent().unwrap_or(std::path::Path::new("/run/jaco"));
    ChargeDir::new(beside.join("guard"))
}

/// What the runtime needs to run exclusive replicas.
pub(crate) fn exclusive(config: &Config, lease: LeaseHandle) -> Exclusive {
    let guard = GuardProcess { charge: charge_dir(config), engine_socket: config.docker_socket.clone() };
    Exclusive { lease, clock: Arc::new(BootClock), guard: Arc::new(guard) }
}

/// What the guard is told when it is started.
#[derive(Debug, clap::Args)]
pub(crate) struct GuardArguments {
    /// The folder that the charge is in.
    #[arg(long)]
    dir: PathBuf,
    /// The engine's socket.
    #[arg(long)]
    engine_socket: PathBuf,
}

/// Is the guard, in a process and a session of its own.
///
/// # Errors
/// Another guard is at work, or the folder cannot be used.
pub(crate) fn guard(arguments: &GuardArguments) -> anyhow::Result<()> {
    let options = GuardOptions { dir: arguments.dir.clone(), engine_socket: arguments.engine_socket.clone() };
    Ok(jaco_guard::run(&options)?)
}

struct GuardProcess {
    charge: ChargeDir,
    engine_socket: PathBuf,
}

impl Guard for GuardProcess {
    fn charged(&self) -> Charge {
        match self.charge.read() {
            Ok(charge) => charge.map(from_file).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "what the guard was charged with before cannot be read");
                Charge::default()
            }
        }
    }

    fn charge(&self, charge: &Charge) -> Result<(), String> {
        self.charge.write(&to_file(charge)).map_err(|error| error.to_string())?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg("guard").arg("--dir").arg(self.charge.path()).arg("--engine-socket").arg(&self.engine_socket);
        match self.charge.start(&mut command) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the guard is being started".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn to_file(charge: &Charge) -> jaco_guard::Charge {
    let lease = charge.lease;
    jaco_guard::Charge {
        lease_until: lease.map(|lease| lease.until).unwrap_or_default(),
        stop_within: lease.map(|lease| lease.stop_within).unwrap_or_default(),
        containers: charge.containers.iter().map(|(id, grace)| Held { id: id.clone(), grace: *grace }).collect(),
    }
}

fn from_file(charge: jaco_guard::Charge) -> Charge {
    let has_lease = !charge.lease_until.is_zero();
    Charge {
        lease: has_lease.then_some(Lease { until: charge.lease_until, stop_within: charge.stop_within }),
        containers: charge.containers.into_iter().map(|held| (held.id, held.grace)).collect(),
    }
}
