//! `cluster init` and `cluster status`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jaco_client::secrets::{self, CertificateOrder};
use jaco_proto::v1::{ClusterStatusRequest, InitRequest, InitResponse};
use jaco_types::{ErrorCode, UserError};

use super::{BEGIN, SHORT, settle, systemd};
use crate::contexts::{self, ContextFile};
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
    /// Make this node the only member of its cluster, whose majority is lost for good; jacod is stopped meanwhile.
    Recover(super::recover::Arguments),
    /// Seal everything with a new data key.
    RotateKey,
}

/// Flags of `cluster init`.
#[derive(Debug, Args)]
pub struct InitArguments {
    /// Name of the cluster [default: its id].
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// Write a context for remote use to this file: server, CA and a client certificate; `jaco context import` reads it.
    #[arg(long, value_name = "PATH")]
    context_file: Option<PathBuf>,
    /// Do not make systemd start jacod at boot.
    #[arg(long)]
    no_systemd_enable: bool,
}

pub async fn run(command: &Command, session: &Session<'_>) -> Result<(), Failure> {
    match command {
        Command::Init(arguments) => init(arguments, session).await,
        Command::Status => status(session).await,
        Command::Recover(arguments) => super::recover::run(arguments, session).await,
        Command::RotateKey => super::rotate_key::run(session).await,
    }
}

async fn init(arguments: &InitArguments, session: &Session<'_>) -> Result<(), Failure> {
    let deadline = session.deadline(BEGIN);
    let client = session.connect_locally().await?;
    let token = secrets::new_token()?;
    let recovery = secrets::new_recovery_key()?;
    let order = arguments.context_file.as_deref().map(prepare_context).transpose()?;
    let request = InitRequest {
        name: arguments.name.clone(),
        operator_token_hash: token.hash().to_string(),
        recovery_public_key: recovery.public().to_string(),
        operator_certificate_request: order.as_ref().map(CertificateOrder::request).unwrap_or_default(),
    };
    let (answer, settled) = match client.cluster_init(request, deadline).await {
        Ok(answer) => (answer, settle::until_initialized(session, deadline).await.map(|_| ())),
        // The secrets exist here alone: if the cluster was made, they have to be shown.
        Err(error) if error.code == ErrorCode::OutcomeUnknown => {
            let Ok(status) = settle::until_initialized(session, deadline).await else { return Err(error.into()) };
            session.warn("the daemon's answer was lost, and the cluster is there: what follows is what was asked for");
            let answer = InitResponse {
                cluster_id: status.cluster_id,
                cluster_name: status.cluster_name,
                ..InitResponse::default()
            };
            (answer, Ok(()))
        }
        Err(error) => return Err(error.into()),
    };
    let unit = if arguments.no_systemd_enable { systemd::Enabled::not_wanted() } else { systemd::enable().await };
    let context = match (&arguments.context_file, order) {
        (Some(path), Some(order)) => Some(write_context(path, &order, &answer)),
        (Some(_) | None, _) => None,
    };
    let written = matches!(context, Some(Ok(()))).then(|| arguments.context_file.clone()).flatten();
    let view = Initialized {
        cluster_id: answer.cluster_id,
        cluster_name: answer.cluster_name,
        operator_token: token.reveal().to_string(),
        recovery_key: recovery.reveal().to_string(),
        ca_fingerprint: answer.ca_fingerprint,
        systemd_enabled: unit.enabled,
        context_file: written,
        unit: unit.text,
    };
    session.printer().show(&view)?;
    if let Some(Err(error)) = context {
        session.warn(&format!("the cluster was made, but no context was written: {}", error.message));
    }
    Ok(settled?)
}

/// The order for the context's certificate, once it is clear that the file can be there.
fn prepare_context(path: &Path) -> Result<CertificateOrder, UserError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.exists() || !directory.is_dir() {
        let reason = if path.exists() { "it exists already" } else { "its directory does not exist" };
        let text = format!("--context-file {}: {reason}", path.display());
        return Err(UserError::new(ErrorCode::Usage, text).with("path", path.display()));
    }
    CertificateOrder::new()
}

fn write_context(path: &Path, order: &CertificateOrder, answer: &InitResponse) -> Result<(), UserError> {
    if answer.operator_certificate.is_empty() {
        return Err(UserError::new(ErrorCode::Internal, "the daemon sent no client certificate"));
    }
    let named = contexts::is_name(&answer.cluster_name);
    let file = ContextFile {
        name: if named { &answer.cluster_name } else { &answer.cluster_id }.clone(),
        server_addrs: vec![answer.grpc_address.clone()],
        ca_cert: answer.ca_certificate.clone(),
        token: None,
        client_cert: Some(answer.operator_certificate.clone()),
        client_key: Some(order.key_pem()),
    };
    file.write(path)
}

async fn status(session: &Session<'_>) -> Result<(), Failure> {
    let client = session.connect().await?;
    let answer = client.cluster_status(ClusterStatusRequest {}, session.deadline(SHORT)).await?;
    session.printer().show(&Cluster::try_from(answer)?)
}
