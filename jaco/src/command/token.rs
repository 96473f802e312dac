//! `token`: operators' tokens and client certificates.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use jaco_client::secrets::{self, CertificateOrder};
use jaco_proto::v1::{self, IssueTokenRequest, IssueTokenResponse, ListTokensRequest, RevokeTokenRequest};
use jaco_types::{ErrorCode, UserError};

use super::SHORT;
use crate::failure::Failure;
use crate::private_file;
use crate::session::Session;
use crate::text::timestamp;
use crate::view::token::{Issued, Revoked, Tokens, role};

/// Commands about operators.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token for an operator, and a client certificate when one is wanted.
    Issue(IssueArguments),
    /// Revoke an operator's token and client certificates.
    Revoke {
        /// The operator's name.
        #[arg(value_name = "ID")]
        identity: String,
    },
    /// Every operator.
    List,
}

/// Flags of `token issue`.
#[derive(Debug, Args)]
pub struct IssueArguments {
    /// The operator's name; the audit log shows it.
    #[arg(long, value_name = "ID")]
    name: String,
    /// What the operator may do.
    #[arg(long, value_enum, default_value_t)]
    role: Rank,
    /// Allow privileged services.
    #[arg(long)]
    allow_privileged: bool,
    /// Have a client certificate signed, too, and write it with its key to this directory.
    #[arg(long, value_name = "DIR")]
    certificate: Option<PathBuf>,
}

/// Roles, lowest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Rank {
    /// Reads.
    Viewer,
    /// Reads, and changes deployments.
    Deployer,
    /// Everything.
    #[default]
    Admin,
}

impl From<Rank> for v1::Role {
    fn from(rank: Rank) -> v1::Role {
        match rank {
            Rank::Viewer => v1::Role::Viewer,
            Rank::Deployer => v1::Role::Deployer,
            Rank::Admin => v1::Role::Admin,
        }
    }
}

pub async fn run(command: &Command, session: &Session<'_>) -> Result<(), Failure> {
    match command {
        Command::Issue(arguments) => issue(arguments, session).await,
        Command::Revoke { identity } => {
            let request = RevokeTokenRequest { identity: identity.clone(), request_id: None };
            let answer = session.connect().await?.token_revoke(request, session.deadline(SHORT)).await?;
            let revoked_at = timestamp(answer.revoked_at_ms);
            session.printer().show(&Revoked { identity: answer.identity, revoked_at })
        }
        Command::List => {
            let answer = session.connect().await?.token_list(ListTokensRequest {}, session.deadline(SHORT)).await?;
            session.printer().show(&Tokens::try_from(answer)?)
        }
    }
}

/// A client certificate on its way: the key is on disk before anything is asked for.
struct Pending<'a> {
    directory: &'a Path,
    order: CertificateOrder,
}

impl<'a> Pending<'a> {
    fn prepare(directory: &'a Path) -> Result<Self, UserError> {
        let key = directory.join("client.key");
        if key.exists() {
            let text = format!("{} exists already: name another directory, or move it away", key.display());
            return Err(UserError::new(ErrorCode::Usage, text).with("path", key.display()));
        }
        private_file::make_directory(directory)?;
        let order = CertificateOrder::new()?;
        private_file::write(&key, order.key_pem())?;
        Ok(Pending { directory, order })
    }

    fn finish(&self, answer: &IssueTokenResponse) -> Result<(), UserError> {
        private_file::write(&self.directory.join("client.crt"), &answer.certificate)?;
        private_file::write(&self.directory.join("ca.crt"), &answer.ca_certificate)
    }

    /// The key of a certificate that there will never be.
    fn undo(&self) {
        // What is left is a key that opens nothing.
        std::fs::remove_file(self.directory.join("client.key")).ok();
    }
}

async fn issue(arguments: &IssueArguments, session: &Session<'_>) -> Result<(), Failure> {
    let client = session.connect().await?;
    let token = secrets::new_token()?;
    let pending = arguments.certificate.as_deref().map(Pending::prepare).transpose()?;
    let request = IssueTokenRequest {
        identity: arguments.name.clone(),
        token_hash: token.hash().to_string(),
        allows_privileged: arguments.allow_privileged,
        role: v1::Role::from(arguments.role).into(),
        certificate_request: pending.as_ref().map(|pending| pending.order.request()).unwrap_or_default(),
        request_id: None,
    };
    let answer = match client.token_issue(request, session.deadline(SHORT)).await {
        Ok(answer) => answer,
        Err(error) => {
            if let Some(pending) = pending.filter(|_| error.code != ErrorCode::OutcomeUnknown) {
                pending.undo();
            }
            return Err(error.into());
        }
    };
    let written = pending.map_or(Ok(()), |pending| pending.finish(&answer));
    let view = Issued {
        identity: answer.identity,
        token: token.reveal().to_string(),
        issued_at: timestamp(answer.issued_at_ms),
        allows_privileged: arguments.allow_privileged,
        role: role(answer.role)?,
        certificate_dir: arguments.certificate.clone(),
    };
    session.printer().show(&view)?;
    Ok(written?)
}
