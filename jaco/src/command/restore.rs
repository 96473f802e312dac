//! `restore`: starts `jacod restore`, which does it, and shows what it says.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Args;
use jaco_types::{ErrorCode, UserError};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::printer::View;
use crate::session::Session;
use crate::view::backup::Restored;

/// The daemon's program.
const JACOD: &str = "jacod";

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The backup.
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// Name of this node in the restored cluster.
    #[arg(long, value_name = "HOSTNAME")]
    name: OsString,
    /// File with the recovery key that `jaco cluster init` printed.
    #[arg(long, value_name = "PATH")]
    recovery_key_file: PathBuf,
    /// No other node of the cluster runs, nor will before it has joined anew: exclusive replicas may start.
    #[arg(long)]
    old_nodes_are_off: bool,
}

pub async fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let mut words: Vec<OsString> = vec!["restore".into(), "--input".into(), arguments.input.clone().into()];
    // Joined, so that a name that begins with a hyphen is no flag.
    let mut name = OsString::from("--name=");
    name.push(&arguments.name);
    words.push(name);
    words.extend(["--recovery-key-file".into(), arguments.recovery_key_file.clone().into()]);
    if arguments.old_nodes_are_off {
        words.push("--old-nodes-are-off".into());
    }
    show::<Restored>(words, session).await
}

/// What the daemon's program says of its end.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said<T> {
    Result(T),
    Error(SaidError),
}

#[derive(Deserialize)]
struct SaidError {
    code: String,
    message: String,
    #[serde(default)]
    details: std::collections::BTreeMap<String, String>,
}

/// Runs the daemon's program with these words, and shows its result. Its standard error is this command's.
pub(super) async fn show<T: View + DeserializeOwned>(
    mut words: Vec<OsString>,
    session: &Session<'_>,
) -> Result<(), Failure> {
    words.push("--json".into());
    let program = program();
    let mut command = tokio::process::Command::new(&program);
    command.args(&words).stdin(Stdio::null()).stdout(Stdio::piped());
    let cannot_start = |error| UserError::internal(format!("{} cannot be started", program.display()), error);
    let child = command.spawn().map_err(cannot_start)?;
    let output = child.wait_with_output().await.map_err(cannot_start)?;
    let result: T = read(&output.stdout).unwrap_or_else(|| {
        Err(UserError::internal(format!("{} ended without a result", program.display()), output.status))
    })?;
    session.printer().show(&result)
}

/// `None` when it said nothing that can be read: it has given its reason on standard error then.
fn read<T: DeserializeOwned>(said: &[u8]) -> Option<Result<T, UserError>> {
    match serde_json::from_slice(said).ok()? {
        Said::Result(result) => Some(Ok(result)),
        Said::Error(SaidError { code, message, details }) => {
            let code = ErrorCode::parse(&code).unwrap_or(ErrorCode::Internal);
            Some(Err(UserError { code, message, details }))
        }
    }
}

/// The one that was installed with this program, else the one in the search path.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(JACOD));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| Path::new(JACOD).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_errors_are_read() {
        let error =
            read::<Restored>(br#"{"error":{"code":"restore_not_empty","message":"m","details":{"data_dir":"/d"}}}"#);
        let error = error.unwrap().unwrap_err();
        assert_eq!((error.code, error.details["data_dir"].as_str()), (ErrorCode::RestoreNotEmpty, "/d"));
        let result =
            read::<Restored>(br#"{"result":{"data_dir":"/d","cluster_id":"c","snapshot_index":1,"hostname":"a"}}"#);
        assert_eq!(result.unwrap().unwrap().hostname, "a");
        assert!(read::<Restored>(b"Killed").is_none());
    }
}
