//! `cluster init` and `cluster status`.

use std::time::Duration;

use clap::{Args, Subcommand};
use jaco_proto::v1::{ClusterStatusRequest, InitRequest};

use super::{SHORT, systemd};
use crate::failure::Failure;
use crate::session::Session;
use crate::view::cluster::Cluster;
use crate::view::init::Initialized;

/// Commands about the cluster.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make this node the first of a new cluster.
    Init(InitArguments),
    /// Leader, log and members.
    Status,
}

/// Flags of `cluster init`.
#[derive(Debug, Args)]
pub struct InitArguments {
    /// Name of the cluster [default: its id].
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// Do not make systemd start jacod at boot.
    #[arg(long)]
    no_systemd_enable: bool,
}

/// Default deadline of `cluster init`: the first log is written and synced.
const INIT: Duration = Duration::from_secs(60);

pub async fn run(command: &Command, session: &Session<'_>) -> Result<(), Failure> {
    match command {
        Command::Init(arguments) => init(arguments, session).await,
        Command::Status => status(session).await,
    }
}

async fn init(arguments: &InitArguments, session: &Session<'_>) -> Result<(), Failure> {
    let client = session.connect_locally().await?;
    let request = InitRequest { name: arguments.name.clone() };
    let answer = client.cluster_init(request, session.deadline(INIT)).await?;
    let unit = if arguments.no_systemd_enable { systemd::Enabled::not_wanted() } else { systemd::enable().await };
    session.printer().show(&Initialized::new(answer, unit.enabled, unit.text))
}

async fn status(session: &Session<'_>) -> Result<(), Failure> {
    let client = session.connect().await?;
    let answer = client.cluster_status(ClusterStatusRequest {}, session.deadline(SHORT)).await?;
    session.printer().show(&Cluster::try_from(answer)?)
}
