//! `node`: joining, listing, emptying and letting go of nodes; their daemons.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jaco_client::secrets;
use jaco_proto::v1::{
    IssueJoinTokenRequest, NodeDrainRequest, NodeJoinRequest, NodeListRequest, NodeRemoveRequest, NodeStatusRequest,
    NodeUncordonRequest, SetLogLevelRequest,
};
use jaco_types::UserError;

use super::node_wait::{Goal, until_done};
use super::{BEGIN, SHORT, WAIT, settle, systemd};
use crate::failure::Failure;
use crate::session::Session;
use crate::text::parse_duration;
use crate::view::member::{Drained, JoinToken, Joined, Members, Removed, Uncordoned};
use crate::view::node::{LogLevel, Node};
use crate::view::node_state;

/// Commands about nodes.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token that lets one node join.
    IssueJoinToken {
        /// How long the token is good, at most 7d.
        #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_life)]
        ttl: Duration,
        /// Print the cluster's CA certificate, too.
        #[arg(long)]
        show_ca: bool,
    },
    /// Have this node join a cluster; its join token is --token or JACO_JOIN_TOKEN.
    Join(JoinArguments),
    /// The members.
    List,
    /// Move everything off a node, and keep it empty.
    Drain {
        /// The node.
        hostname: String,
        /// Do not wait until it is empty.
        #[arg(long)]
        no_wait: bool,
    },
    /// Let a node take replicas again.
    Uncordon {
        /// The node.
        hostname: String,
    },
    /// Move everything off a node, and let it go.
    Remove {
        /// The node.
        hostname: String,
        /// Also what has data of its own there, and without waiting for a dead node.
        #[arg(long)]
        force: bool,
        /// Do not wait until it is gone.
        #[arg(long)]
        no_wait: bool,
    },
    /// A node's daemon and its loops.
    Status {
        /// The node [default: the one that answers].
        #[arg(default_value = "", hide_default_value = true)]
        hostname: String,
    },
    /// Set what a node's daemon logs, until it starts again.
    LogLevel {
        /// The level.
        #[arg(value_enum)]
        level: Level,
        /// The node [default: the one that answers].
        #[arg(default_value = "", hide_default_value = true)]
        hostname: String,
    },
}

/// Flags of `node join`.
#[derive(Debug, Args)]
pub struct JoinArguments {
    /// Any member's API.
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_peer)]
    peer: String,
    /// Do not make systemd start jacod at boot.
    #[arg(long)]
    no_systemd_enable: bool,
}

/// Longest life of a join token (contract: 7 days).
const LONGEST_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

fn parse_life(text: &str) -> Result<Duration, String> {
    let life = parse_duration(text)?;
    if life < Duration::from_secs(1) || life > LONGEST_LIFE {
        return Err("a join token is good for 1s to 7d".to_owned());
    }
    Ok(life)
}

/// `host:port`, an IPv6 address in brackets.
fn parse_peer(text: &str) -> Result<String, String> {
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty() && (!host.contains(':') || host.ends_with(']')));
    match port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(port)) if port > 0 => Ok(text.to_owned()),
        Some(Ok(_) | Err(_)) | None => Err("it is host:port of a member's API, port 7000 by default".to_owned()),
    }
}

/// Levels of the daemon's log.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

pub async fn run(command: &Command, session: &Session<'_>) -> Result<(), Failure> {
    match command {
        Command::IssueJoinToken { ttl, show_ca } => issue_join_token(*ttl, *show_ca, session).await,
        Command::Join(arguments) => join(arguments, session).await,
        Command::List => {
            let answer = session.connect().await?.node_list(NodeListRequest {}, session.deadline(SHORT)).await?;
            session.printer().show(&Members::try_from(answer)?)
        }
        Command::Drain { hostname, no_wait } => drain(hostname, *no_wait, session).await,
        Command::Uncordon { hostname } => {
            let request = NodeUncordonRequest { hostname: hostname.clone(), request_id: None };
            let answer = session.connect().await?.node_uncordon(request, session.deadline(SHORT)).await?;
            session.printer().show(&Uncordoned { hostname: answer.hostname, schedulable: true })
        }
        Command::Remove { hostname, force, no_wait } => remove(hostname, *force, *no_wait, session).await,
        Command::Status { hostname } => {
            let request = NodeStatusRequest { hostname: hostname.clone() };
            let answer = session.connect().await?.node_status(request, session.deadline(SHORT)).await?;
            session.printer().show(&Node::try_from(answer)?)
        }
        Command::LogLevel { level, hostname } => {
            let request = SetLogLevelRequest { level: level.as_str().to_owned(), hostname: hostname.clone() };
            let answer = session.connect().await?.set_log_level(request, session.deadline(SHORT)).await?;
            session.printer().show(&LogLevel { hostname: answer.hostname, level: answer.level })
        }
    }
}

async fn issue_join_token(ttl: Duration, show_ca: bool, session: &Session<'_>) -> Result<(), Failure> {
    let client = session.connect().await?;
    let secret = secrets::new_token()?;
    let request = IssueJoinTokenRequest {
        token_hash: secret.hash().to_string(),
        ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        request_id: None,
    };
    let answer = client.issue_join_token(request, session.deadline(SHORT)).await?;
    let token = secrets::join_token(&secret, &answer.ca_fingerprint)?;
    session.printer().show(&JoinToken::new(token, answer, show_ca))
}

async fn join(arguments: &JoinArguments, session: &Session<'_>) -> Result<(), Failure> {
    let deadline = session.deadline(BEGIN);
    let token = session.join_token()?;
    let client = session.connect_locally().await?;
    let request = NodeJoinRequest { peer: arguments.peer.clone(), token };
    let answer = client.node_join(request, deadline).await?;
    let unit = if arguments.no_systemd_enable { systemd::Enabled::not_wanted() } else { systemd::enable().await };
    let status = settle::until_initialized(session, deadline).await?;
    let own = status.nodes.iter().find(|member| member.hostname == answer.hostname);
    let state = own.map(|member| node_state(member.status)).transpose()?;
    let view = Joined {
        cluster_id: answer.cluster_id,
        hostname: answer.hostname,
        status: state.unwrap_or(jaco_types::NodeState::Joining),
        systemd_enabled: unit.enabled,
        unit: unit.text,
    };
    session.printer().show(&view)
}

async fn drain(hostname: &str, no_wait: bool, session: &Session<'_>) -> Result<(), Failure> {
    let deadline = session.deadline(if no_wait { SHORT } else { WAIT });
    let client = session.connect().await?;
    let request = NodeDrainRequest { hostname: hostname.to_owned(), request_id: None };
    let hostname = client.node_drain(request, deadline).await?.hostname;
    let progress = match no_wait {
        true => None,
        false => Some(until_done(&client, &hostname, Goal::Drained, deadline).await?),
    };
    session.printer().show(&Drained::new(hostname, progress))
}

async fn remove(hostname: &str, force: bool, no_wait: bool, session: &Session<'_>) -> Result<(), Failure> {
    let deadline = session.deadline(if no_wait { SHORT } else { WAIT });
    let client = session.connect().await?;
    let request = NodeRemoveRequest { hostname: hostname.to_owned(), force, request_id: None };
    let hostname = client.node_remove(request, deadline).await?.hostname;
    let progress: Result<_, UserError> = match no_wait {
        true => Ok(None),
        false => until_done(&client, &hostname, Goal::Removed, deadline).await.map(Some),
    };
    session.printer().show(&Removed::new(hostname, force, progress?))
}
