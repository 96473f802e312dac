//! `doctor`: whether this machine has what a node needs.

use std::path::PathBuf;

use clap::Args;

use crate::doctor::{Places, Report, evaluate, gather};
use crate::failure::Failure;
use crate::session::Session;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The daemon's data directory.
    #[arg(long, value_name = "PATH", default_value = "/var/lib/jaco")]
    data_dir: PathBuf,
    /// The container engine's socket.
    #[arg(long, value_name = "PATH", default_value = "/var/run/docker.sock")]
    docker_socket: PathBuf,
}

/// The exit code when something essential is missing.
const MISSING: u8 = 1;

pub async fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let places = Places { data_dir: arguments.data_dir.clone(), docker_socket: arguments.docker_socket.clone() };
    let report = Report::new(evaluate(&gather(&places).await));
    session.printer().show(&report)?;
    if report.healthy { Ok(()) } else { Err(Failure::Code(MISSING)) }
}
