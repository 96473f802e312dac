//! The keeper: lives in the switch's network namespace as long as the lab does, and removes the lab at its end.
//!
//! The end is the end of standard input, which the owner holds: it comes with the owner's death of whatever kind. After the word
//! `detach` it is a signal instead.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use jaco_e2e::eventually;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use serde::{Deserialize, Serialize};

use super::{Answer, answer};
use crate::cgroup;
use crate::namespace::{call, ip, nft, set_network};
use crate::network::table;
use crate::options::LabOptions;
use crate::process::PidRecord;
use crate::state::{
    HostFolder, HostSpec, Lock, LockError, Record, SWITCH, hardware_address, host_name, read_json, switch_address,
    write_json,
};

/// What a keeper is started with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// What the lab is to be.
    pub(crate) options: LabOptions,
    /// Whose it is.
    pub(crate) owner: PidRecord,
    /// The owner's command line.
    pub(crate) command: String,
}

/// Keeps a lab until its end; `request` is JSON.
///
/// # Errors
/// When the end could not be done whole: the next lab tries again.
pub fn keep(request: &str) -> anyhow::Result<()> {
    // Ctrl-C is for the owner, whose end is seen here.
    nix::unistd::setsid().context("a session of its own")?;
    let request: Request = serde_json::from_str(request).context("the keeper's request")?;
    let signals = block_signals()?;
    match prepare(&request) {
        Ok((mut lock, mut record)) => {
            answer(&Answer::Switch(Box::new(record.clone())));
            let waited = wait_for_end(&signals, &mut lock, &mut record);
            clear(&record.folder, record.options.hosts)?;
            lock.clear()?;
            waited
        }
        Err(error) => {
            match error.downcast_ref::<LockError>() {
                Some(taken) => answer(&Answer::Taken(taken.clone())),
                None => answer(&Answer::Failed(format!("{error:#}"))),
            }
            Ok(())
        }
    }
}

fn block_signals() -> anyhow::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block().context("blocking signals")?;
    SignalFd::new(&set).context("a descriptor for signals")
}

fn prepare(request: &Request) -> anyhow::Result<(Lock, Record)> {
    let mut lock = sweep()?;
    let folder = tempfile::Builder::new().prefix("jaco-lab-").tempdir()?.keep();
    let record = Record {
        folder,
        owner: request.owner,
        command: request.command.clone(),
        keeper: PidRecord::of(std::process::id())?,
        subnet: free_subnet()?,
        options: request.options.clone(),
        detached: false,
    };
    lock.record(&record)?;
    match write_specs(&record).and_then(|()| make_switch(&record)) {
        Ok(()) => Ok((lock, record)),
        Err(error) => {
            clear(&record.folder, 0)?;
            lock.clear()?;
            Err(error)
        }
    }
}

/// Takes the lock and removes what an earlier lab left behind: the one the lock's file tells of, and whatever is in our control groups.
pub(crate) fn sweep() -> anyhow::Result<Lock> {
    let (mut lock, left) = Lock::take()?;
    if let Some(left) = left {
        clear(&left.folder, left.options.hosts).context("what an earlier lab left behind")?;
        lock.clear()?;
    }
    for host in cgroup::hosts() {
        let _ = cgroup::set_frozen(&host, false);
        cgroup::remove(&host).context("what an earlier lab left behind")?;
    }
    Ok(lock)
}

fn write_specs(record: &Record) -> anyhow::Result<()> {
    for number in 1..=record.options.hosts {
        let folder = HostFolder::new(&record.folder, number);
        folder.make()?;
        let spec = HostSpec {
            number,
            hosts: record.options.hosts,
            subnet: record.subnet,
            lab: record.folder.clone(),
            keeper: record.keeper,
            docker: record.options.docker,
            docker_args: record.options.docker_args.clone(),
            data_disk: record.options.data_disk,
        };
        write_json(&folder.spec(), &spec)?;
    }
    Ok(())
}

/// The first of 10.99.0.0/24, 10.99.1.0/24, … that the machine has neither an address nor a route in.
fn free_subnet() -> anyhow::Result<u8> {
    let used = call("ip", &["-4", "-oneline", "address", "show"])?
        + &call("ip", &["-4", "-oneline", "route", "show", "table", "all"])?;
    let is_free = |number: &u8| !used.contains(&format!(" 10.99.{number}."));
    (0..=255).find(is_free).context("no free network below 10.99.0.0/16")
}

fn make_switch(record: &Record) -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace for the switch")?;
    let (address, hardware) = (switch_address(record.subnet), hardware_address(record.subnet, SWITCH));
    ip(&format!(
        "link set lo up\nlink add br0 address {hardware} type bridge\naddress add {address}/24 dev br0\nlink set br0 up\n"
    ))?;
    set_network(&[
        // Frames between ports are no business of the packet filter for routed packets.
        ("bridge/bridge-nf-call-iptables", "0"),
        ("bridge/bridge-nf-call-ip6tables", "0"),
        ("bridge/bridge-nf-call-arptables", "0"),
        ("ipv6/conf/br0/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
        // The hosts' name server is this address, where nothing listens: every look-up must be refused at once.
        ("ipv4/icmp_ratelimit", "0"),
        ("ipv4/tcp_tw_reuse", "1"),
        ("ipv4/ip_local_port_range", "1024 65535"),
    ]);
    nft(&table(record.options.hosts))
}

fn wait_for_end(signals: &SignalFd, lock: &mut Lock, record: &mut Record) -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    loop {
        let mut descriptors = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if !record.detached {
            descriptors.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut descriptors, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error).context("poll"),
        }
        let is_ready = |index: usize| descriptors.get(index).and_then(PollFd::any).unwrap_or(false);
        if is_ready(0) {
            return Ok(());
        }
        if is_ready(1) {
            let mut word = [0; 16];
            if stdin.lock().read(&mut word).unwrap_or(0) == 0 {
                return Ok(());
            }
            record.detached = true;
            lock.record(record)?;
        }
    }
}

/// Ends every host of a lab, whoever booted it, and removes all that the lab made. Goes on after an error, and tells the first.
fn clear(folder: &Path, hosts: usize) -> anyhow::Result<()> {
    let mut first = Ok(());
    for number in 1..=hosts {
        let ended = end_host(&HostFolder::new(folder, number), &host_name(number));
        first = first.and(ended.with_context(|| host_name(number)));
    }
    first.and(remove_folder(folder))
}

/// Ends a host by the files it left.
pub(crate) fn end_host(folder: &HostFolder, name: &str) -> anyhow::Result<()> {
    // What is frozen does not die (v1); fails when the host never got its groups.
    let _ = cgroup::set_frozen(name, false);
    for file in [folder.init(), folder.launcher()] {
        if let Ok(record) = read_json::<PidRecord>(&file) {
            record.kill()?;
        }
    }
    cgroup::remove(name)
}

fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    // The kernel takes a dead host's mounts apart in its own time.
    eventually(Duration::from_secs(20), &format!("{} is removed", folder.display()), || {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            Ok(()) | Err(_) => Ok(()),
        }
    })
}
