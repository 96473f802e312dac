//! What a host is.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::Rig;

/// Name, addresses, files and processes are each host's own.
pub(crate) fn hosts_are_machines_of_their_own(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab()?;
    for (host, other) in [(lab.host(1), lab.host(2)), (lab.host(2), lab.host(1))] {
        ensure!(host.run(&["hostname"])?.ok()?.trim() == host.name());
        ensure!(host.run(&["cat", "/proc/1/cmdline"])?.ok()?.contains("init"), "process 1 is the host's init");
        host.run(&["busybox", "ping", "-c", "1", "-W", "3", other.name()])?.ok()?;
        host.run(&["busybox", "ping", "-c", "1", "-W", "3", "127.0.0.1"])?.ok()?;
        host.run(&["sh", "-ec", "hostname >/etc/mine; hostname >/var/lib/jaco/mine; hostname >/run/mine"])?.ok()?;
    }
    for file in ["/etc/mine", "/var/lib/jaco/mine", "/run/mine"] {
        for host in lab.hosts() {
            ensure!(host.run(&["cat", file])?.ok()?.trim() == host.name(), "{file} on {}", host.name());
        }
        ensure!(!std::path::Path::new(file).exists(), "{file} came out of the lab");
    }
    let id = |number| lab.host(number).run(&["cat", "/etc/machine-id"]);
    ensure!(id(1)? != id(2)?, "two hosts with one machine id");
    Ok(())
}

/// Exit codes come through, and a command that hangs is killed with all it started.
pub(crate) fn a_command_has_a_deadline_and_an_exit_code(rig: &mut Rig) -> anyhow::Result<()> {
    let host = rig.lab()?.host(1);
    let output = host.run(&["sh", "-c", "echo out; echo err >&2; exit 7"])?;
    ensure!((output.status, output.stdout.as_str(), output.stderr.as_str()) == (7, "out\n", "err\n"), "{output:?}");
    ensure!(host.run(&["sh", "-c", "kill -TERM $$"])?.status == 143);
    ensure!(host.run(&["no-such-program"])?.status != 0);

    let begin = Instant::now();
    let output = host.run_within(Duration::from_millis(300), &["sh", "-c", "sleep 9871; true"])?;
    ensure!(output.status == 137 && begin.elapsed() < Duration::from_secs(5), "{output:?}");
    let all = host.run(&["sh", "-c", "cat /proc/[0-9]*/cmdline"])?.stdout;
    ensure!(!all.contains("sleep\09871"), "what the command started is still there");

    let mut process = host.spawn(&["sh", "-c", "echo begun; exec sleep 9872"])?;
    jaco_e2e::eventually(Duration::from_secs(5), "it begins", || {
        if process.output() == "begun\n" { Ok(()) } else { Err(process.output()) }
    })?;
    ensure!(process.is_running());
    process.signal(15)?;
    ensure!(process.wait(Duration::from_secs(5))? == Some(143));
    Ok(())
}
