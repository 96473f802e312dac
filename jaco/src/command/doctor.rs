//! `doctor`: whether this machine has what a node needs.

use std::path::PathBuf;

use clap::Args;

use crate::doctor::{DEFAULT_PATH, Places, Report, evaluate, gather};
use crate::failure::Failure;
use crate::session::Session;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The daemon's configuration (or JACO_CONFIG) [default: /etc/jaco/jacod.yaml].
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// The daemon's data directory [default: the configuration's].
    #[arg(long, value_name = "PATH")]
    data_dir: Option<PathBuf>,
    /// The container engine's socket [default: the configuration's].
    #[arg(long, value_name = "PATH")]
    docker_socket: Option<PathBuf>,
}

/// The exit code when something essential is missing.
const MISSING: u8 = 1;

pub async fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let config = arguments.config.clone().or_else(|| session.daemon_config()).unwrap_or_else(|| DEFAULT_PATH.into());
    let places =
        Places { config, data_dir: arguments.data_dir.clone(), docker_socket: arguments.docker_socket.clone() };
    let report = Report::new(evaluate(&gather(&places).await));
    session.printer().show(&report)?;
    if report.healthy { Ok(()) } else { Err(Failure::Code(MISSING)) }
}
