//! A guard, an updater and a guarded process, all real: the updater is killed or frozen, and the guard ends the guarded one in time.
// Test code: it may panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jaco_guard::{Charge, ChargeDir, GuardOptions, Held, Processes, boot_time, run, run_with};
use rustix::process::{Pid, Signal, kill_process};

const LEASE: Duration = Duration::from_millis(1_500);
const STOP: Duration = Duration::from_millis(1_500);
const DIR: &str = "JACO_GUARD_TEST_DIR";
const CONTAINER: &str = "JACO_GUARD_TEST_CONTAINER";
const VICTIM: &str = "JACO_GUARD_TEST_VICTIM";
const ENGINE: &str = "/var/run/docker.sock";

/// Kills one known process, as the control groups would find it.
struct Victim(i32);

impl Processes for Victim {
    fn kill(&mut self, containers: &[&str]) -> usize {
        assert_eq!(containers.len(), 1);
        usize::from(kill_process(Pid::from_raw(self.0).unwrap(), Signal::KILL).is_ok())
    }
}

#[allow(clippy::disallowed_methods)] // No runtime here: real processes take real time.
fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn charge(container: &str) -> Charge {
    let held = Held { id: container.to_owned(), grace: Duration::from_secs(10) };
    Charge { lease_until: boot_time() + LEASE, stop_within: STOP, containers: vec![held] }
}

/// Not a test of its own: the process that renews the lease, as the daemon does.
#[test]
fn updater() {
    let (Some(dir), Ok(container)) = (std::env::var_os(DIR), std::env::var(CONTAINER)) else { return };
    let dir = ChargeDir::new(PathBuf::from(dir));
    loop {
        dir.write(&charge(&container)).unwrap();
        pause(Duration::from_millis(200));
    }
}

/// Not a test of its own: the guard.
#[test]
fn guard() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let options = GuardOptions { dir: PathBuf::from(dir), engine_socket: PathBuf::from(ENGINE) };
    match std::env::var(VICTIM) {
        Ok(pid) => {
            let options = GuardOptions { engine_socket: PathBuf::from("/nonexistent"), ..options };
            run_with(&options, &mut Victim(pid.parse().unwrap())).unwrap();
        }
        Err(_) => run(&options).unwrap(),
    }
}

fn part(name: &str, dir: &Path, container: &str, victim: Option<u32>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(DIR, dir).env(CONTAINER, container);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    match victim {
        Some(victim) => command.env(VICTIM, victim.to_string()),
        None => command.env_remove(VICTIM),
    };
    command
}

struct Ends(Child);

impl Ends {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap(), signal).unwrap();
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        pause(Duration::from_millis(10));
    }
}

/// Renews for two leases' time, then loses the updater; returns how long the guarded process lived after that.
fn lose(signal: Signal) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let id = "e".repeat(64);
    let mut victim = Ends(Command::new("sleep").arg("60").spawn().unwrap());
    let updater = Ends(part("updater", dir.path(), &id, None).spawn().unwrap());
    let charges = ChargeDir::new(dir.path());
    wait_until("a charge", Duration::from_secs(5), || charges.read().unwrap().is_some());
    let guard = Ends(part("guard", dir.path(), &id, Some(victim.0.id())).spawn().unwrap());
    wait_until("a guard", Duration::from_secs(5), || charges.is_guarded().unwrap());
    pause(2 * (LEASE + STOP));
    assert!(victim.0.try_wait().unwrap().is_none(), "a lease that is renewed ends nothing");
    updater.signal(signal);
    let lost = Instant::now();
    wait_until("the end of the guarded process", Duration::from_secs(10), || victim.0.try_wait().unwrap().is_some());
    let lived = lost.elapsed();
    drop((updater, guard));
    lived
}

#[test]
fn a_killed_updater_ends_the_guarded_process_in_time() {
    let lived = lose(Signal::KILL);
    assert!(lived > LEASE - Duration::from_millis(500) && lived < LEASE + STOP, "{lived:?}");
}

#[test]
fn a_frozen_updater_ends_the_guarded_process_in_time() {
    let lived = lose(Signal::STOP);
    assert!(lived > LEASE - Duration::from_millis(500) && lived < LEASE + STOP, "{lived:?}");
}

#[test]
fn a_guard_is_started_once_and_again_when_it_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let charges = ChargeDir::new(dir.path());
    let mut command = part("guard", dir.path(), "", Some(1));
    // Nothing is charged: no guard touches process 1.
    wait_until("a guard", Duration::from_secs(5), || charges.start(&mut command).unwrap());
    wait_until("a guard", Duration::from_secs(5), || charges.start(&mut command).unwrap());
    let guards = || -> Vec<i32> {
        let marker = format!("{DIR}={}", dir.path().display());
        std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &i32| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
            })
            .collect()
    };
    let first = guards();
    assert_eq!(first.len(), 1);
    kill_process(Pid::from_raw(first[0]).unwrap(), Signal::KILL).unwrap();
    wait_until("the lock is free", Duration::from_secs(5), || !charges.is_guarded().unwrap());
    wait_until("a guard", Duration::from_secs(5), || charges.start(&mut command).unwrap());
    let second = guards();
    assert!(second.len() == 1 && second != first);
    kill_process(Pid::from_raw(second[0]).unwrap(), Signal::KILL).unwrap();
}

fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// An image with nothing but busybox, under a name of its own.
fn import() -> Option<String> {
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::copy("/bin/busybox", bin.join("busybox")).ok()?;
    for applet in ["sh", "sleep"] {
        std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
    }
    let tar = root.path().join("root.tar");
    let made = Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&tar).arg("bin").status().ok()?;
    let name = format!("jaco-guard-test:{}", root.path().file_name()?.to_str()?.trim_start_matches('.').to_lowercase());
    made.success().then(|| docker(&["import", tar.to_str()?, &name])).flatten().map(|_| name)
}

/// A container that ignores its stop signal, on a real engine: stopped through it, or killed without it.
fn lose_container(name: &str, socket: &str) {
    let Some(image) = import() else {
        println!("skipped {name}: no container engine, or no static busybox");
        return;
    };
    let script = "trap '' TERM; while :; do sleep 1; done";
    let id = docker(&["run", "-d", "--label", "jaco-guard-test", &image, "/bin/sh", "-c", script]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let charges = ChargeDir::new(dir.path());
    charges.write(&charge(&id)).unwrap();
    let until = charges.read().unwrap().unwrap().lease_until;
    let options = GuardOptions { dir: dir.path().to_owned(), engine_socket: PathBuf::from(socket) };
    let guard = std::thread::spawn(move || run(&options));
    let runs = || docker(&["inspect", "-f", "{{.State.Running}}", &id]).as_deref() == Some("true");
    assert!(runs());
    let mut ended = None;
    let begun = Instant::now();
    while ended.is_none() && begun.elapsed() < Duration::from_secs(15) {
        if !runs() {
            ended = Some(boot_time());
        }
    }
    charges.write(&Charge::default()).unwrap();
    docker(&["rm", "-f", &id]);
    docker(&["rmi", "-f", &image]);
    let ended = ended.expect("the container was not stopped");
    assert!(ended > until && ended < until + STOP + Duration::from_secs(1), "{:?} after {until:?}", ended - until);
    // It ends by itself after a minute; the process of the test does not wait for it.
    drop(guard);
}

#[test]
fn a_container_that_does_not_want_to_stop_is_ended_with_its_engine() {
    lose_container("a_container_that_does_not_want_to_stop_is_ended_with_its_engine", ENGINE);
}

#[test]
fn a_container_is_ended_while_its_engine_does_not_answer() {
    lose_container("a_container_is_ended_while_its_engine_does_not_answer", "/nonexistent/engine.sock");
}
