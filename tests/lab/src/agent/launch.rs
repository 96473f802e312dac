//! The launcher: makes a host's namespaces and its link to the switch, starts its init, and waits for that.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use jaco_e2e::eventually;
use nix::sched::{CloneFlags, unshare};

use super::{Answer, answer};
use crate::cgroup;
use crate::namespace::{call, inside_network, ip, set_network};
use crate::options::DataDisk;
use crate::process::PidRecord;
use crate::state::{
    HostFolder, HostSpec, SWITCH, hardware_address, host_address, read_json, switch_address, write_json,
};

/// Boots the host of this folder, and returns when it is dead.
///
/// # Errors
/// When it could not be booted; told on standard output as well.
pub fn launch(folder: &Path) -> anyhow::Result<()> {
    let folder = HostFolder::at(folder);
    let result = boot(&folder);
    if let Err(error) = &result {
        answer(&Answer::Failed(format!("{error:#}")));
    }
    result
}

fn boot(folder: &HostFolder) -> anyhow::Result<()> {
    nix::unistd::setsid().context("a session of its own")?;
    let spec: HostSpec = read_json(&folder.spec())?;
    let name = spec.name();
    // First of all: whoever clears away finds this process in there.
    cgroup::join_root(&name)?;
    let own = PidRecord::of(std::process::id())?;
    write_json(&folder.launcher(), &own)?;
    prepare_disk(&spec, folder)?;
    // The mount namespace is the init's own business: this process goes on to need the machine's /proc.
    let kinds =
        CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWCGROUP;
    unshare(kinds).context("the host's namespaces")?;
    cgroup::join(&name)?;
    plug(&spec, own)?;
    // The last one: from here on the next process is process 1, and the kernel refuses threads.
    unshare(CloneFlags::CLONE_NEWPID).context("the host's process namespace")?;
    let mut init = Command::new(std::env::current_exe()?)
        .arg("init")
        .arg(folder.path())
        .stdin(Stdio::null())
        .spawn()
        .context("the host's init")?;
    write_json(&folder.init(), &PidRecord::of(init.id())?)?;
    init.wait()?;
    Ok(())
}

/// Makes the image of a new data disk; of an old one, waits until the kernel has let go of it after the host's death, as two mounts of
/// one image would ruin it.
fn prepare_disk(spec: &HostSpec, folder: &HostFolder) -> anyhow::Result<()> {
    let DataDisk::Ext4 { mib } = spec.data_disk else { return Ok(()) };
    let image = folder.image();
    let path = image.display().to_string();
    if image.exists() {
        return eventually(Duration::from_secs(20), &format!("{path} is free"), || match loop_device_of(&image) {
            None => Ok(()),
            Some(device) => Err(format!("{} has it", device.display())),
        });
    }
    std::fs::File::create(&image).and_then(|file| file.set_len(u64::from(mib) << 20)).with_context(|| path.clone())?;
    call("mkfs.ext4", &["-q", "-F", "-m", "0", &path]).map(|_| ())
}

/// The loop device that a file is the backing store of.
fn loop_device_of(image: &Path) -> Option<PathBuf> {
    let devices = std::fs::read_dir("/sys/block").ok()?;
    devices.flatten().map(|entry| entry.path()).find(|device| {
        let backing = std::fs::read_to_string(device.join("loop/backing_file")).unwrap_or_default();
        Path::new(backing.trim_end()) == image
    })
}

/// Hangs the host off the switch. Hardware addresses are fixed and known to every host beforehand: nobody has to ask for them after a
/// reboot, and a link that is cut one way stays cut one way, as no answer to such a question gets lost on it.
fn plug(spec: &HostSpec, own: PidRecord) -> anyhow::Result<()> {
    let (name, number, subnet) = (spec.name(), spec.number, spec.subnet);
    inside_network(spec.keeper, || {
        ip(&format!(
            "link add {name} type veth peer name eth0 address {} netns {}\n\
             link set {name} master br0\nlink set {name} up\n",
            hardware_address(subnet, number),
            own.pid
        ))
    })??;
    let (address, gateway): (Ipv4Addr, Ipv4Addr) = (host_address(subnet, number), switch_address(subnet));
    let mut lines = format!(
        "link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\nroute add default via {gateway}\n"
    );
    let others = (1..=spec.hosts).filter(|other| *other != number).chain([SWITCH]);
    for other in others {
        let hardware = hardware_address(subnet, other);
        lines += &format!("neighbour add {} lladdr {hardware} nud permanent dev eth0\n", host_address(subnet, other));
    }
    ip(&lines)?;
    set_network(&[
        ("ipv4/ip_forward", "1"),
        // A connection for each request uses up ports otherwise.
        ("ipv4/tcp_tw_reuse", "1"),
        ("ipv4/ip_local_port_range", "1024 65535"),
    ]);
    Ok(())
}
