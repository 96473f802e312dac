//! The commands, one file each.

pub mod apply;
pub mod audit;
pub mod backup;
pub mod cluster;
pub mod completions;
pub mod context;
pub mod debug;
pub mod delete;
pub mod doctor;
pub mod get;
pub mod history;
pub mod logs;
mod manifest;
pub mod node;
mod node_wait;
pub mod recover;
pub mod restore;
pub mod rollback;
pub mod rotate_key;
mod settle;
pub mod status;
mod systemd;
pub mod token;
pub mod validate;
pub mod version;

use std::time::Duration;

use jaco_client::{Client, Deadline};
use jaco_types::UserError;

use crate::cli::Command;
use crate::failure::Failure;
use crate::printer::View;
use crate::progress::Progress;
use crate::session::Session;
use crate::view::change::Outcome;
use crate::view::remark::Remark;
use crate::wait::{Target, outcome, until_running};

/// Default deadline of the commands about cluster and nodes.
const SHORT: Duration = Duration::from_secs(10);

/// Default deadline of reads and of changes that nobody waits for.
const NORMAL: Duration = Duration::from_secs(30);

/// Default deadline of `cluster init` and `node join`: the first log is written and synced, and the daemon begins anew.
const BEGIN: Duration = Duration::from_secs(60);

/// Default deadline of `--wait`, and of emptying a node.
const WAIT: Duration = Duration::from_secs(600);

/// Runs one command.
pub async fn run(command: &Command, session: &Session<'_>) -> Result<(), Failure> {
    match command {
        Command::Cluster(command) => cluster::run(command, session).await,
        Command::Node(command) => node::run(command, session).await,
        Command::Token(command) => token::run(command, session).await,
        Command::Context(command) => context::run(command, session),
        Command::Apply(arguments) => apply::run(arguments, session).await,
        Command::Status(arguments) => status::run(arguments, session).await,
        Command::Get(command) => get::run(command, session).await,
        Command::History(arguments) => history::run(arguments, session).await,
        Command::Rollback(arguments) => rollback::run(arguments, session).await,
        Command::Delete(arguments) => delete::run(arguments, session).await,
        Command::Logs(arguments) => logs::run(arguments, session).await,
        Command::Audit(arguments) => audit::run(arguments, session).await,
        Command::Backup(arguments) => backup::run(arguments, session).await,
        Command::Restore(arguments) => restore::run(arguments, session).await,
        Command::Validate(arguments) => validate::run(arguments, session),
        Command::Debug(arguments) => debug::run(arguments, session).await,
        Command::Doctor(arguments) => doctor::run(arguments, session).await,
        Command::Version(_) => version::run(session),
        Command::Completions(arguments) => completions::run(arguments, session),
    }
}

/// Remarks on standard error, as text; in JSON they are part of the result.
fn say_remarks(session: &Session<'_>, remarks: &[Remark]) {
    if !session.speaks_text() {
        return;
    }
    for remark in remarks {
        if remark.severity == "warning" {
            crate::failure::complain(&remark.line());
        } else {
            session.note(&remark.line());
        }
    }
}

/// `--wait`: follows a change to its end, shows what it came to, and ends as the wait did. A wait that says nothing about the
/// change itself (the daemon was lost) shows nothing.
async fn wait_and_show<V: View>(
    client: &Client,
    target: &Target,
    deadline: Deadline,
    session: &Session<'_>,
    view: impl FnOnce(Outcome) -> Result<V, UserError>,
) -> Result<(), Failure> {
    let mut progress = Progress::new(!session.is_quiet() && session.speaks_text());
    let waited = until_running(client, target, deadline, &mut progress).await;
    drop(progress);
    if let Some(outcome) = outcome(&waited) {
        session.printer().show(&view(outcome)?)?;
    }
    Ok(waited?)
}

/// `<deployment>/<service>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceReference {
    pub deployment: String,
    pub service: String,
}

fn parse_service(text: &str) -> Result<ServiceReference, String> {
    match text.split_once('/') {
        Some((deployment, service)) if !deployment.is_empty() && !service.is_empty() && !service.contains('/') => {
            Ok(ServiceReference { deployment: deployment.to_owned(), service: service.to_owned() })
        }
        Some(_) | None => Err(format!("{text:?} is not of the form deployment/service")),
    }
}

/// `<deployment>` or `<deployment>/<service>`; the service is empty when it is not given.
fn parse_deployment_or_service(text: &str) -> Result<ServiceReference, String> {
    if text.contains('/') {
        return parse_service(text);
    }
    if text.is_empty() {
        return Err("an empty name names nothing".to_owned());
    }
    Ok(ServiceReference { deployment: text.to_owned(), service: String::new() })
}
