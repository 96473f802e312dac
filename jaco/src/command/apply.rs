//! `apply`.

use clap::Args;
use jaco_manifest::ProjectRequest;
use jaco_proto::v1::{ApplyRequest, ApplyResponse};
use jaco_types::UserError;

use super::manifest::{Texts, read};
use super::{NORMAL, WAIT, say_remarks, wait_and_show};
use crate::failure::Failure;
use crate::session::Session;
use crate::view::change::{Applied, DryRun};
use crate::view::remark::{Remark, remarks};
use crate::wait::Target;

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The deployment's file.
    jaco_yaml: String,
    /// A compose file, later ones over earlier ones [default: the one beside jaco.yaml, with its override file].
    #[arg(long, value_name = "PATH")]
    compose: Vec<String>,
    /// Take in the services of this compose profile.
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
    /// Refuse what would only be noted or warned of.
    #[arg(long)]
    strict: bool,
    /// Only check, and say what would change.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Wait until every replica runs.
    #[arg(long)]
    wait: bool,
    /// With --dry-run: exit with 10 when something would change.
    #[arg(long, requires = "dry_run")]
    exit_code: bool,
}

/// The exit code of `--dry-run --exit-code` when there are differences.
const DIFFERENCES: u8 = 10;

pub async fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let project = ProjectRequest {
        jaco_path: Some(arguments.jaco_yaml.clone()),
        compose: arguments.compose.clone(),
        profiles: arguments.profile.clone(),
    };
    let reading = read(&project, arguments.strict);
    say_remarks(session, &reading.remarks);
    let Some(texts) = reading.texts else { return Err(refused(reading.errors)) };
    let client = session.connect().await?;
    let waiting = session.deadline(WAIT);
    let answer = client.apply(request(texts, arguments), session.deadline(NORMAL)).await?;
    say_remarks(session, &new_remarks(&reading.remarks, &answer)?);
    if arguments.dry_run {
        let view = DryRun::of_apply(answer, reading.remarks)?;
        session.printer().show(&view)?;
        return if view.changed && arguments.exit_code { Err(Failure::Code(DIFFERENCES)) } else { Ok(()) };
    }
    if !arguments.wait {
        return session.printer().show(&Applied::new(answer, None, reading.remarks)?);
    }
    let target = Target {
        deployment: answer.deployment.clone(),
        revision: answer.applied_revision,
        attempt: answer.attempt,
        index: answer.index,
    };
    // What was applied stays applied, however the wait ended.
    wait_and_show(&client, &target, waiting, session, |outcome| Applied::new(answer, Some(outcome), reading.remarks))
        .await
}

/// Never empty: a reading without texts without errors would be a fault of this program.
fn refused(errors: Vec<UserError>) -> Failure {
    if errors.is_empty() {
        return UserError::internal("the manifest was refused", "no reason was given").into();
    }
    Failure::Errors(errors)
}

fn request(texts: Texts, arguments: &Arguments) -> ApplyRequest {
    ApplyRequest {
        jaco_yaml: texts.jaco_yaml,
        compose_yaml: texts.compose_yaml,
        dry_run: arguments.dry_run,
        strict: arguments.strict,
        request_id: None,
    }
}

/// Remarks of the daemon that were not made on this side already.
fn new_remarks(local: &[Remark], answer: &ApplyResponse) -> Result<Vec<Remark>, UserError> {
    let mut new = remarks(answer.remarks.clone())?;
    new.retain(|remark| !local.iter().any(|known| known.says_the_same(remark)));
    Ok(new)
}
