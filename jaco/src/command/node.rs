//! `node status` and `node log-level`.

use clap::{Subcommand, ValueEnum};
use jaco_proto::v1::{NodeStatusRequest, SetLogLevelRequest};

use super::SHORT;
use crate::failure::Failure;
use crate::session::Session;
use crate::view::node::{LogLevel, Node};

/// Commands about nodes.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A node's daemon and its loops.
    Status {
        /// The node [default: the one that answers].
        #[arg(default_value = "", hide_default_value = true)]
        hostname: String,
    },
    /// Set what the daemon logs, until it starts again.
    LogLevel {
        /// The level.
        #[arg(value_enum)]
        level: Level,
    },
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
    let client = session.connect().await?;
    let deadline = session.deadline(SHORT);
    match command {
        Command::Status { hostname } => {
            let answer = client.node_status(NodeStatusRequest { hostname: hostname.clone() }, deadline).await?;
            session.printer().show(&Node::try_from(answer)?)
        }
        Command::LogLevel { level } => {
            let request = SetLogLevelRequest { level: level.as_str().to_owned() };
            let answer = client.set_log_level(request, deadline).await?;
            session.printer().show(&LogLevel { level: answer.level })
        }
    }
}
