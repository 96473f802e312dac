//! Engines and daemons in hosts, on their default paths.

use std::time::Duration;

use anyhow::{Context, ensure};
use jaco_e2e::{WEB_IMAGE, eventually};
use jaco_lab::{Capability, JacodOptions, can_run};

use crate::Rig;

/// Two engines know nothing of each other.
pub(crate) fn two_engines_run_containers_of_the_same_name(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab()?;
    lab.build_web_image()?;
    lab.each(|host| {
        host.docker(&["run", "--detach", "--name", "same", "--publish", "8080:8080", WEB_IMAGE]).map(|_| ())
    })?;
    let ids: Vec<String> = lab
        .hosts()
        .iter()
        .map(|host| host.docker(&["ps", "--no-trunc", "--filter", "name=^same$", "--format", "{{.ID}}"]))
        .collect::<Result<_, _>>()?;
    ensure!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 64), "{ids:?}");
    for host in lab.hosts() {
        let get = || jaco_e2e::get((host.address(), 8080).into(), "web", "/");
        let reply = eventually(Duration::from_secs(10), "the container answers a client outside", || {
            lab.network().inside(get).and_then(|reply| reply).map_err(|error| format!("{error:#}"))
        })?;
        ensure!(reply.body == "hello from jaco\n", "{reply:?}");
        host.docker(&["rm", "--force", "same"])?;
    }
    Ok(())
}

/// An image goes from one engine to the other by a file.
pub(crate) fn an_image_is_loaded_from_a_file(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab()?;
    let (one, two) = (lab.host(1), lab.host(2));
    lab.build_web_image()?;
    one.docker(&["tag", WEB_IMAGE, "jaco.test/copy:1"])?;
    one.docker(&["save", "--output", "/run/copy.tar", "jaco.test/copy:1"])?;
    two.load_image(&one.path("/run/copy.tar")?)?;
    ensure!(!two.docker(&["images", "--quiet", "jaco.test/copy:1"])?.is_empty(), "the image did not arrive");
    Ok(())
}

/// The engine alone, with its host going on.
pub(crate) fn an_engine_is_stopped_killed_and_started_again(rig: &mut Rig) -> anyhow::Result<()> {
    let host = rig.lab()?.host(1);
    for kill in [false, true] {
        host.docker(&["version"])?;
        if kill {
            host.kill_docker()?
        } else {
            host.stop_docker()?
        }
        ensure!(!host.run(&["docker", "version"])?.is_success(), "the engine still answers");
        host.start_docker()?;
        host.docker(&["version"])?;
    }
    Ok(())
}

/// Two clusters of one node each, side by side, with every default; and the daemon's handle does what it says.
pub(crate) fn jacod_runs_on_default_paths_in_each_host(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab()?;
    lab.each(|host| {
        host.start_jacod(&JacodOptions::default())?;
        host.jaco(&["cluster", "init", "--no-systemd-enable"])?.ok().map(|_| ())
    })?;
    let cluster = |number| lab.host(number).jaco_json(&["cluster", "status"]);
    let (one, two) = (cluster(1)?, cluster(2)?);
    ensure!(one["leader"] == "host1" && two["leader"] == "host2", "{one} {two}");
    ensure!(one["cluster_id"].is_string() && one["cluster_id"] != two["cluster_id"], "{one} {two}");

    let host = lab.host(1);
    let daemon = host.jacod();
    ensure!(host.start_jacod(&JacodOptions::default()).is_err(), "a second jacod in one host");
    daemon.pause()?;
    let answer = host.jaco_within(Duration::from_secs(1), &["cluster", "status"])?;
    ensure!(answer.status == 137, "a paused daemon answers: {answer:?}");
    daemon.resume()?;
    daemon.wait_until_up(Duration::from_secs(20))?;

    let before = daemon.pid()?;
    daemon.kill9()?;
    ensure!(!daemon.is_running() && daemon.pid().is_err());
    host.start_jacod(&JacodOptions::default().set("log_level", "debug"))?;
    ensure!(daemon.pid()? != before);
    ensure!(cluster(1)?["cluster_id"] == one["cluster_id"], "the data did not survive");
    ensure!(host.run(&["cat", "/etc/jaco/jacod.yaml"])?.ok()? == "log_level: debug\n");
    daemon.stop()?;
    ensure!(!daemon.is_running() && !daemon.logs().is_empty());
    lab.host(2).jacod().stop()?;
    Ok(())
}

/// The shift is seen by the daemon, in its log, and by nobody else.
pub(crate) fn a_shifted_clock_is_one_daemons_own(rig: &mut Rig) -> anyhow::Result<()> {
    let host = rig.lab()?.host(1);
    if !can_run("lab::a_shifted_clock_is_one_daemons_own", &[Capability::Faketime]) {
        let error = host.shift_clock(3600).err().context("a shifted clock without libfaketime")?;
        ensure!(error.to_string().contains("not available here"), "{error:#}");
        return Ok(());
    }
    let daemon = host.start_jacod(&JacodOptions::default().with_own_clock())?;
    // Ten years: no other year looks like it in a log.
    host.shift_clock(10 * 365 * 24 * 3600)?;
    let year: i32 = host.run(&["date", "+%Y"])?.ok()?.trim().parse()?;
    let wanted = [format!("{}-", year + 9), format!("{}-", year + 10)];
    // It has something to say when it stops.
    daemon.stop()?;
    let logs = daemon.logs();
    ensure!(wanted.iter().any(|year| logs.contains(year)), "no {wanted:?} in {}", daemon.log_tail(3));
    ensure!(logs.contains(&format!("{year}-")), "the shift began before it was asked for");
    Ok(())
}
