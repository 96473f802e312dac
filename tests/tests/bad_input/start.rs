//! Starts that must fail, with the reason.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::ensure;
use jaco_e2e::{Daemon, Project, program, web_compose, web_jaco};

use crate::{Lab, NO_ENGINE};

pub(crate) fn calls_before_init_say_so(_lab: &mut Lab) -> anyhow::Result<()> {
    let daemon = Daemon::start(Path::new(NO_ENGINE))?;
    let cli = daemon.cli();
    let status = cli.json(&["cluster", "status"])?;
    ensure!(status["initialized"] == false, "{status}");
    ensure!(cli.run(&["cluster", "status"])?.contains("uninitialized"));
    let project = Project::new(&web_jaco("early", 1), &web_compose("one"))?;
    for arguments in
        [&["apply", &project.jaco()][..], &["status"], &["get", "deployments"], &["delete", "x"], &["history", "x"]]
    {
        cli.refused(arguments, 6, "cluster_uninitialized")?;
    }
    Ok(())
}

/// Runs a daemon that is expected to end by itself, soon.
fn failed_start(config: &Path) -> anyhow::Result<Output> {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "20"]).arg(program("jacod")).arg("--config").arg(config);
    let output = command.env_remove("JACO_LOG").stdin(Stdio::null()).output()?;
    let code = output.status.code();
    ensure!(code == Some(1), "a start that must fail ended with {code:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

pub(crate) fn a_wrong_configuration_is_refused_by_key(_lab: &mut Lab) -> anyhow::Result<()> {
    let prepared = Daemon::prepare(Path::new(NO_ENGINE))?;
    let good = std::fs::read_to_string(prepared.config())?;
    let wrong: &[(&str, &[&str])] = &[
        ("unix_soket: /tmp/x.sock\n", &["unix_soket"]),
        ("log_level: loud\n", &["log_level", "loud"]),
        ("hostname: node-b\n", &["hostname"]),
        ("node_down_after: 1s\n", &["node_down_after"]),
        ("dns: {forwarders: [127.0.0.11], speed: fast}\n", &["speed"]),
        ("wg_port: 0\nacme_ca: http://example.test\n", &["wg_port", "acme_ca"]),
        ("log_level: [\n", &["line"]),
    ];
    for (addition, named) in wrong {
        let text = if addition.starts_with("log_level: loud") {
            good.replace("log_level: debug\n", addition)
        } else {
            good.clone() + addition
        };
        std::fs::write(prepared.config(), text)?;
        let said = String::from_utf8_lossy(&failed_start(&prepared.config())?.stderr).into_owned();
        for name in *named {
            ensure!(said.contains(name), "{addition:?}: {name} is not named in {said}");
        }
        ensure!(said.contains("jacod.yaml"), "{addition:?}: the file is not named in {said}");
    }
    std::fs::write(prepared.config(), [0xff, 0xfe, 0x00, 0x9f, 0x92, 0x96])?;
    failed_start(&prepared.config())?;
    ensure!(!prepared.data_dir().exists() && !prepared.socket().exists(), "a refused start left something behind");
    Ok(())
}

pub(crate) fn a_second_daemon_is_refused(lab: &mut Lab) -> anyhow::Result<()> {
    let line = |text: &str, key: &str| text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    let first = std::fs::read_to_string(lab.daemon.config())?;
    for (shared, word) in [
        ("data_dir:", "in use"),
        ("unix_socket:", "in use"),
        ("http_addr:", "http_addr"),
        ("metrics_addr:", "metrics_addr"),
        ("listen_addr:", "listen_addr"),
        ("cluster_addr:", "cluster_addr"),
    ] {
        let second = Daemon::prepare(Path::new(NO_ENGINE))?;
        let own = std::fs::read_to_string(second.config())?;
        std::fs::write(second.config(), own.replace(&line(&own, shared), &line(&first, shared)))?;
        let said = String::from_utf8_lossy(&failed_start(&second.config())?.stderr).into_owned();
        ensure!(said.contains(word), "the same {shared} is refused with {said}");
        ensure!(
            lab.daemon.cli().try_run(&["cluster", "status"]).code == 0,
            "the first daemon was disturbed by {shared}"
        );
    }
    Ok(())
}
