//! Sockets that outlive the daemon.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use jaco_e2e::{Daemon, Manager, Node, Project, Traffic, program, web_compose, web_jaco};

use crate::{Lab, until_ready};

fn boot_under(manager: &mut Manager, daemon: &mut Daemon, program: &Path) -> anyhow::Result<()> {
    manager.forget();
    let config = daemon.config().display().to_string();
    let (command, spare) = manager.command(program, &["--config", &config])?;
    let booted = daemon.boot_as(command);
    drop(spare);
    booted?;
    manager.wait_for("READY=1", Duration::from_secs(20))
}

pub(crate) fn an_upgrade_refuses_no_connection(lab: &mut Lab) -> anyhow::Result<()> {
    lab.with_node(|node| {
        let jacod = program("jacod");
        node.daemon.stop()?;
        // The daemon leaves its socket file behind or not; the manager's takes its place.
        let _ = std::fs::remove_file(node.daemon.socket());
        let mut manager = Manager::new(node.daemon.folder(), &node.daemon.socket())?;
        boot_under(&mut manager, &mut node.daemon, &jacod)?;
        let kept = manager.kept();
        ensure!(!kept.is_empty() && kept.iter().all(|name| *name == "ingress-http"), "handed over: {kept:?}");
        let listeners = kept.len();
        upgrades(node, &mut manager, &jacod)?;
        ensure!(manager.kept().len() == listeners, "each start hands over more sockets: {:?}", manager.kept());
        Ok(())
    })
}

fn upgrades(node: &mut Node, manager: &mut Manager, jacod: &Path) -> anyhow::Result<()> {
    until_ready(&node.daemon)?;
    let project = Project::new(&web_jaco("upgrade", 2), &web_compose("one"))?;
    node.apply(&project)?;
    let ids = node.engine.container_ids(&["upgrade-web-0", "upgrade-web-1"])?;
    let traffic = Traffic::start(4, node.daemon.http(), "upgrade.test", "/cgi-bin/show");
    for _ in 0..4 {
        node.daemon.stop()?;
        boot_under(manager, &mut node.daemon, jacod)?;
    }
    until_ready(&node.daemon)?;
    let asked = traffic.end_without_failure()?;
    ensure!(asked > 20, "only {asked} requests were made meanwhile");
    ensure!(node.engine.container_ids(&["upgrade-web-0", "upgrade-web-1"])? == ids);
    node.daemon.cli().run(&["delete", "upgrade", "--wait", "--timeout", "60s"])?;
    Ok(())
}
