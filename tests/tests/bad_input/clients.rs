//! Clients that speak nonsense, or go away in the middle.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use anyhow::ensure;
use jaco_e2e::{Project, eventually, get, web_compose, web_jaco};

use crate::Lab;

/// Bytes without a meaning, the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Openings of a conversation that no client of ours would have.
fn openings() -> Vec<Vec<u8>> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut half_way = preface.to_vec();
    half_way.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let mut wild = half_way.clone();
    wild.extend(noise(100_000));
    let mut huge = half_way.clone();
    huge.extend([0xff, 0xff, 0xff, 1, 5, 0, 0, 0, 1]);
    vec![
        Vec::new(),
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"{\"apply\": \"please\"}\n".to_vec(),
        noise(64 * 1024),
        preface.get(..10).unwrap_or_default().to_vec(),
        preface.to_vec(),
        half_way,
        wild,
        huge,
        vec![0; 1 << 20],
    ]
}

fn descriptors(lab: &Lab) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", lab.daemon.pid()?))?.count())
}

/// Waits until the daemon has given back the descriptors of clients that are gone.
fn until_descriptors_are_given_back(lab: &Lab, before: usize) -> anyhow::Result<()> {
    eventually(Duration::from_secs(20), "descriptors are given back", || {
        let now = descriptors(lab).map_err(|error| error.to_string())?;
        // A few may come from the daemon's own work meanwhile.
        if now <= before + 5 { Ok(()) } else { Err(format!("{now} are open, {before} were")) }
    })
}

pub(crate) fn garbage_on_the_control_socket_concerns_nobody(lab: &mut Lab) -> anyhow::Result<()> {
    let before = descriptors(lab)?;
    for round in 0..20 {
        for opening in openings() {
            let mut stream = UnixStream::connect(lab.daemon.socket())?;
            stream.set_write_timeout(Some(Duration::from_secs(5)))?;
            stream.set_read_timeout(Some(Duration::from_millis(20)))?;
            // It may close in our face while we write: that is its right.
            let _ = stream.write_all(&opening);
            if round % 2 == 0 {
                let _ = stream.read(&mut [0; 1024]);
            }
        }
    }
    ensure!(lab.daemon.cli().json(&["cluster", "status"])?["initialized"] == true);
    until_descriptors_are_given_back(lab, before)
}

pub(crate) fn clients_that_hang_up_leave_nothing_behind(lab: &mut Lab) -> anyhow::Result<()> {
    let cli = lab.daemon.cli();
    let project = Project::new(&web_jaco("hangup", 1), &web_compose("one"))?;
    cli.run(&["apply", &project.jaco()])?;
    let before = descriptors(lab)?;
    let path = project.jaco();
    let commands: &[&[&str]] = &[
        &["status", "-w"],
        &["logs", "-f", "hangup/web"],
        &["apply", &path, "--wait"],
        &["apply", &path],
        &["get", "replicas"],
    ];
    for round in 0..8 {
        let mut clients = Vec::new();
        for arguments in commands.iter().cycle().take(10) {
            clients.push(cli.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        }
        for _ in 0..round {
            jaco_e2e::pause();
        }
        for mut client in clients {
            client.kill()?;
            client.wait()?;
        }
    }
    let deployment = cli.json(&["get", "deployment", "hangup"])?;
    let history = cli.json(&["history", "hangup"])?;
    ensure!(history["revisions"][0]["revision"] == deployment["applied_revision"], "{history} {deployment}");
    until_descriptors_are_given_back(lab, before)
}

pub(crate) fn garbage_at_the_ingress_concerns_nobody(lab: &mut Lab) -> anyhow::Result<()> {
    let address = lab.daemon.http();
    for opening in openings() {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        let _ = stream.write_all(&opening);
        let _ = stream.read(&mut [0; 4096]);
    }
    let long = "x".repeat(200_000);
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let _ = write!(stream, "GET / HTTP/1.1\r\nHost: a.test\r\nX-Long: {long}\r\n\r\n");
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).unwrap_or(0);
    let said = String::from_utf8_lossy(answer.get(..length).unwrap_or_default()).into_owned();
    ensure!(length == 0 || said.starts_with("HTTP/1.1 4"), "a header of 200 kB was answered with {said:?}");
    ensure!(get(address, "nobody.test", "/")?.status == 404);
    let mut metrics = TcpStream::connect_timeout(&lab.daemon.metrics(), Duration::from_secs(5))?;
    let _ = metrics.write_all(&noise(10_000));
    drop(metrics);
    ensure!(get(lab.daemon.metrics(), "localhost", "/ready")?.status == 200);
    Ok(())
}

pub(crate) fn wrong_command_lines_are_usage_errors(lab: &mut Lab) -> anyhow::Result<()> {
    let cli = lab.daemon.cli();
    for arguments in [
        &["aply"][..],
        &["apply"],
        &["status", "a/b/c"],
        &["get", "deployment", "x", "--revision", "minus"],
        &["logs", "onlydeployment"],
        &["apply", "x", "--exit-code"],
        &["status", "--timeout", "soon"],
    ] {
        cli.refused(arguments, 2, "usage")?;
    }
    let format = cli.try_run(&["-o", "xml", "status"]);
    ensure!(format.code == 2 && format.stderr.contains("xml"), "{format:?}");
    let nobody = jaco_e2e::Cli::new("/nonexistent/jaco.sock".into());
    let answer = nobody.refused(&["status"], 6, "unreachable")?;
    ensure!(answer["message"].as_str().is_some_and(|text| text.contains("/nonexistent/jaco.sock")), "{answer}");
    let without = cli.try_run(&["--server", "127.0.0.1:1", "status"]);
    ensure!(without.code == 5 && without.stderr.contains("token_invalid"), "{without:?}");
    let token = "0".repeat(64);
    let unverified = cli.try_run(&["--server", "127.0.0.1:1", "--token", &token, "--ca-cert", "", "status"]);
    ensure!(unverified.code != 0 && unverified.stderr.contains("JACO_CA_CERT"), "{unverified:?}");
    let remote =
        cli.try_run(&["--server", "127.0.0.1:1", "--token", &token, "--ca-fingerprint", &"ab".repeat(32), "status"]);
    ensure!(remote.code == 6 && remote.stderr.contains("unreachable"), "{remote:?}");
    Ok(())
}
