//! Operators outside the cluster, over TLS.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::{announce, eventually, program};
use jaco_lab::{Lab, Output};

use crate::Rig;
use crate::cluster::{Cluster, refusal};

/// A revoked token is refused everywhere within this time.
const REVOKED: Duration = Duration::from_secs(5);

/// The client on a machine outside the cluster, with a home folder of its own.
struct Outside<'a> {
    lab: &'a Lab,
    home: tempfile::TempDir,
}

impl<'a> Outside<'a> {
    fn new(lab: &'a Lab) -> anyhow::Result<Outside<'a>> {
        Ok(Outside { lab, home: tempfile::tempdir()? })
    }

    /// Runs `jaco` there, whatever its end.
    fn jaco(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new("timeout");
        command.arg("60").arg(program("jaco")).args(arguments).stdin(std::process::Stdio::null());
        command.env("HOME", self.home.path()).env("XDG_CONFIG_HOME", self.home.path());
        for variable in
            ["JACO_CONTEXT", "JACO_SERVER", "JACO_TOKEN", "JACO_CA_CERT", "JACO_CA_FINGERPRINT", "JACO_SOCKET"]
        {
            command.env_remove(variable);
        }
        let output = self.lab.network().inside(|| command.output())?.context("jaco")?;
        Ok(Output {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Init writes a context; imported elsewhere it serves every command, on whichever node answers.
pub(crate) fn a_context_works_from_outside(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab();
    let cluster = Cluster::found(lab, &["--context-file", "/run/context.yaml", "--name", "far"])?;
    cluster.add(2, 1)?;
    cluster.add(3, 1)?;
    cluster.settled(&[1, 2, 3])?;
    let outside = Outside::new(lab)?;
    let file = outside.home.path().join("context.yaml");
    let written = lab.host(1).path("/run/context.yaml")?;
    std::fs::copy(&written, &file)?;
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&written)?) & 0o777;
    ensure!(mode == 0o600, "the context, which holds a key, has mode {mode:o}");
    outside.jaco(&["context", "import", &file.display().to_string()])?.ok()?;
    let contexts = outside.jaco(&["context", "list"])?.ok()?;
    ensure!(contexts.contains("far"), "{contexts}");

    let project = crate::workload::idle_project("remote")?;
    for arguments in [
        &["cluster", "status"][..],
        &["node", "list"],
        &["apply", &project.jaco()],
        &["status"],
        &["get", "deployment", "remote"],
        &["history", "remote"],
        &["node", "issue-join-token"],
        &["audit"],
        &["delete", "remote"],
    ] {
        let mut all = vec!["--context", "far", "-o", "json"];
        all.extend(arguments);
        outside.jaco(&all)?.ok().with_context(|| format!("jaco {} from outside", arguments.join(" ")))?;
    }
    let mut wrong = vec!["-o", "json", "--context", "nobody"];
    wrong.extend(["node", "list"]);
    ensure!(!outside.jaco(&wrong)?.is_success(), "a context that is not there serves");
    Ok(())
}

/// The first operator's token pinned by the fingerprint on every node; another operator's is refused everywhere soon after its end.
pub(crate) fn a_revoked_token_is_refused_everywhere(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab();
    let cluster = rig.cluster(3)?;
    let outside = Outside::new(lab)?;
    let fingerprint = cluster.founded["ca_fingerprint"].as_str().context("no fingerprint")?.to_owned();
    let operator = cluster.founded["operator_token"].as_str().context("no operator token")?.to_owned();
    let ask = |number: usize, token: &str, fingerprint: &str| {
        let server = format!("{}:7000", cluster.host(number).address());
        outside.jaco(&[
            "-o",
            "json",
            "--server",
            &server,
            "--token",
            token,
            "--ca-fingerprint",
            fingerprint,
            "node",
            "list",
        ])
    };
    for number in 1..=3 {
        ask(number, &operator, &fingerprint)?.ok().with_context(|| format!("host{number}"))?;
        refusal(&ask(number, &"0".repeat(64), &fingerprint)?, 5, &["token_invalid"])?;
    }
    refusal(&ask(1, &operator, &"ab".repeat(32))?, 5, &["ca_fingerprint_mismatch"])?;

    let issued = cluster.host(2).jaco_json(&["token", "issue", "--name", "short", "--role", "viewer"])?;
    let token = issued["token"].as_str().context("no token")?.to_owned();
    for number in 1..=3 {
        eventually(Duration::from_secs(5), "the new token serves", || {
            let answer = ask(number, &token, &fingerprint).map_err(|error| format!("{error:#}"))?;
            answer.ok().map_err(|error| format!("{error:#}"))
        })?;
    }
    let server = format!("{}:7000", cluster.host(3).address());
    let remote = ["-o", "json", "--server", &server, "--token", &token, "--ca-fingerprint", &fingerprint];
    let mut issue = remote.to_vec();
    issue.extend(["token", "issue", "--name", "sneaky"]);
    refusal(&outside.jaco(&issue)?, 5, &["permission_denied"])?;

    let begin = Instant::now();
    cluster.host(1).jaco(&["token", "revoke", "short"])?.ok()?;
    for number in 1..=3 {
        let left = REVOKED.saturating_sub(begin.elapsed());
        eventually(left, &format!("host{number} refuses the revoked token"), || {
            let answer = ask(number, &token, &fingerprint).map_err(|error| format!("{error:#}"))?;
            refusal(&answer, 5, &["token_revoked"]).map(|_| ()).map_err(|error| format!("{error:#}"))
        })?;
    }
    announce(&format!("refused on every node {:.2?} after its revocation", begin.elapsed()));
    Ok(())
}
