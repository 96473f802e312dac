//! A kill in the middle of an apply that replaces containers.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use jaco_e2e::{Node, Project, Shared, eventually, web_compose, web_jaco};

use crate::{Lab, Moments};

const ROUNDS: u64 = 6;

pub(crate) fn a_kill_in_the_middle_of_an_apply_leaves_old_or_new(lab: &mut Lab) -> anyhow::Result<()> {
    let mut node = Node::start()?;
    let mut moments = Moments::new();
    let project = Project::new(&web_jaco("mid", 2), &web_compose("0"))?;
    node.apply(&project)?;
    for round in 1..=ROUNDS {
        if let Err(error) = one_round(&mut node, &project, &mut moments, round) {
            lab.evidence = node.evidence();
            return Err(error.context(format!("round {round}")));
        }
    }
    node.clear()
}

#[allow(clippy::disallowed_methods)] // The random moment of a kill, no waiting for anything.
fn one_round(node: &mut Node, project: &Project, moments: &mut Moments, round: u64) -> anyhow::Result<()> {
    let before = value_of(node)?;
    project.write("compose.yml", &web_compose(&round.to_string()))?;
    let mut client = node
        .daemon
        .cli()
        .command(&["apply", &project.jaco(), "--wait"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("the client")?;
    // A replacement takes some two seconds: the first moments hit the commit, the later ones the containers.
    let moment = if round.is_multiple_of(2) { moments.below(80) } else { moments.below(2500) };
    std::thread::sleep(Duration::from_millis(moment));
    node.daemon.kill()?;
    let _ = client.kill();
    client.wait()?;
    node.daemon.boot()?;
    let value = value_of(node)?;
    ensure!(value == before || value == round.to_string(), "{value} is neither {before} nor {round}");
    let names = ["mid-web-0", "mid-web-1"];
    eventually(
        Duration::from_secs(40),
        &format!("both containers have VALUE={value} after a kill at {moment} ms"),
        || {
            let look = || -> anyhow::Result<String> {
                let containers = node.containers()?;
                ensure!(containers == names, "{containers:?}");
                for name in names {
                    let environment = node.engine.inspect(name, "{{.Config.Env}}")?;
                    ensure!(
                        environment.contains(&format!("VALUE={value} "))
                            || environment.contains(&format!("VALUE={value}]")),
                        "{environment}"
                    );
                }
                let status = node.daemon.cli().json(&["status", "mid"])?;
                ensure!(status["deployments"][0]["status"] == "active", "{status}");
                Ok(status.to_string())
            };
            look().map_err(|error| format!("{error:#}"))
        },
    )?;
    for _ in 0..4 {
        let reply = node.get("mid.test", "/cgi-bin/show")?;
        ensure!(reply.status == 200 && reply.body.ends_with(&format!(" {value}\n")), "{reply:?}");
    }
    Ok(())
}

/// VALUE in the manifest of the active revision.
fn value_of(node: &Node) -> anyhow::Result<String> {
    let deployment = node.daemon.cli().json(&["get", "deployment", "mid"])?;
    let text = deployment["compose_yaml"].as_str().context("no compose text")?;
    let value = text.lines().find_map(|line| line.trim().strip_prefix("VALUE: ")).context("no VALUE")?;
    Ok(value.trim_matches(['"', '\'']).to_owned())
}
