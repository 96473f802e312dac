//! Whole hosts that die or hang.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::{WEB_IMAGE, eventually};

use crate::Rig;

/// Everything in it ends at the kill, without a farewell on the network, and what was written is there after a boot.
pub(crate) fn a_killed_host_is_dead_at_once_and_keeps_its_disks(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab()?;
    let (host, other) = (lab.host(2), lab.host(1));
    lab.build_web_image()?;
    host.docker(&["run", "--detach", "--name", "kept", "--network", "host", WEB_IMAGE])?;
    host.run(&["sh", "-ec", "echo kept >/var/lib/jaco/file; echo kept >/etc/jaco/file; echo gone >/run/file"])?.ok()?;
    let mut process = host.spawn(&["sleep", "9873"])?;
    let outside = process.pid()?;
    let address = (host.address(), 8080).into();
    let mut stream = eventually(Duration::from_secs(10), "the container listens", || {
        let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1));
        other.inside(connect).map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    })?;

    let begin = Instant::now();
    host.kill()?;
    let took = begin.elapsed();
    ensure!(took < Duration::from_secs(3), "the kill took {took:?}");
    ensure!(!std::path::Path::new(&format!("/proc/{outside}")).exists(), "a program outlived its host");
    ensure!(!host.is_running() && !process.is_running());
    ensure!(host.run(&["true"]).is_err(), "a dead host runs a command");
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    let error = stream.read(&mut [0]).err().context("the dead host closed its connection")?;
    ensure!(error.kind() == std::io::ErrorKind::WouldBlock, "the dead host reset its connection: {error}");

    host.boot()?;
    ensure!(host.run(&["cat", "/var/lib/jaco/file", "/etc/jaco/file"])?.ok()? == "kept\nkept\n");
    ensure!(host.run(&["cat", "/run/file"])?.status != 0, "/run survived a boot");
    ensure!(host.docker(&["ps", "--all", "--format", "{{.Names}}"])? == "kept");
    // The host of before is not the one that answers now: the old connection is reset at last.
    let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let error = stream.read(&mut [0]).err().context("an answer on a dead connection")?;
    ensure!(error.kind() == std::io::ErrorKind::ConnectionReset, "{error}");

    host.kill()?;
    host.wipe_disk()?;
    host.boot()?;
    ensure!(host.run(&["ls", "-A", "/var/lib/jaco", "/etc/jaco"])?.ok()? == "/etc/jaco:\n\n/var/lib/jaco:\n");
    ensure!(host.docker(&["ps", "--all", "--quiet"])?.is_empty(), "containers survived the loss of the disk");
    Ok(())
}

/// Its programs do nothing, and go on afterwards; meanwhile nothing can be started, and it can be killed.
pub(crate) fn a_frozen_host_stands_still(rig: &mut Rig) -> anyhow::Result<()> {
    let host = rig.lab()?.host(1);
    let count = || host.path("/run/count").and_then(|path| Ok(std::fs::metadata(path)?.len()));
    let _counter = host.spawn(&["sh", "-c", "while echo -n x >>/run/count; do sleep 0.01; done"])?;
    let grows = |from: u64| {
        eventually(Duration::from_secs(5), "the counter goes on", || match count() {
            Ok(now) if now > from => Ok(now),
            other => Err(format!("{other:?}")),
        })
    };
    grows(0)?;
    host.freeze()?;
    let frozen = count()?;
    ensure!(host.run(&["true"]).is_err(), "a frozen host runs a command");
    for _ in 0..4 {
        jaco_e2e::pause();
    }
    ensure!(count()? == frozen, "a frozen host works");
    host.thaw()?;
    grows(frozen)?;
    host.freeze()?;
    host.kill()?;
    host.boot()
}
