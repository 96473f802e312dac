//! Process 1 of a host: makes the host's view of the file system, starts its engine, and reaps.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Answer, answer};
use crate::cgroup::{self, Hierarchy, Kind};
use crate::namespace::call;
use crate::options::DataDisk;
use crate::state::{HostFolder, HostSpec, host_address, host_name, read_json, switch_address};

/// What a lab puts into a host's `/run`.
pub(crate) const RUN: &str = "/run/lab";

/// Mount points below these belong to the machine's other work: a host would keep them busy after they are unmounted there.
const FOREIGN: [&str; 6] = ["/run/", "/tmp/", "/var/tmp/", "/var/lib/docker/", "/var/lib/containerd/", "/mnt/"];

/// Makes the host of this folder out of the calling process, which must be process 1 of its namespace, and never returns.
///
/// # Errors
/// When the host could not be made; told on standard output as well.
pub fn init(folder: &Path) -> anyhow::Result<()> {
    let prepared = read_json(&HostFolder::at(folder).spec()).and_then(|spec: HostSpec| prepare(&spec));
    match prepared {
        Ok(()) => answer(&Answer::Host),
        Err(error) => {
            answer(&Answer::Failed(format!("{error:#}")));
            return Err(error);
        }
    }
    reap()
}

fn prepare(spec: &HostSpec) -> anyhow::Result<()> {
    let hierarchies = cgroup::hierarchies();
    unshare(CloneFlags::CLONE_NEWNS).context("the mount namespace")?;
    // Unmounting on the machine goes on to be seen here; nothing done here is seen there.
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SLAVE, nothing).context("/")?;
    detach_foreign(&spec.lab)?;
    nix::unistd::sethostname(spec.name()).context("the host name")?;
    mount_fs("proc", Path::new("/proc"), "proc", "")?;
    mount_fs("sysfs", Path::new("/sys"), "sysfs", "")?;
    mount_cgroups(&hierarchies)?;
    mount_fs("tmpfs", Path::new("/run"), "tmpfs", "mode=755")?;
    for name in ["lock", "lab", "lab/disk"] {
        make_folder(&Path::new("/run").join(name))?;
    }
    let folder = spec.folder();
    overlay(&folder, "etc", "/etc")?;
    overlay(&folder, "lib", "/var/lib")?;
    mount_disks(spec, &folder)?;
    write_etc(spec)?;
    if spec.docker { start_engine(spec, &folder) } else { Ok(()) }
}

/// Forgets mounts that are nobody's business here, the innermost first.
fn detach_foreign(lab: &Path) -> anyhow::Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let program = std::env::current_exe()?;
    for target in foreign(&mounts, &[lab, &program]).iter().rev() {
        // Gone already where the machine was quicker.
        let _ = umount2(target, MntFlags::MNT_DETACH);
    }
    Ok(())
}

/// The mount points, in a text of the form of proc_pid_mountinfo(5), that a host does without; those that hold `needed` stay.
fn foreign(mounts: &str, needed: &[&Path]) -> Vec<PathBuf> {
    let is_foreign = |line: &&str| {
        let target = line.split(' ').nth(4).unwrap_or_default();
        let source = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').nth(1)).unwrap_or_default();
        let elsewhere = FOREIGN.iter().any(|folder| target.starts_with(folder)) || source.starts_with("/dev/loop");
        elsewhere && !needed.iter().any(|path| path.starts_with(target))
    };
    let lines = mounts.lines().filter(is_foreign);
    lines.filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect()
}

fn mount_cgroups(hierarchies: &[Hierarchy]) -> anyhow::Result<()> {
    if hierarchies.iter().any(|one| one.mount != Path::new("/sys/fs/cgroup")) {
        mount_fs("cgroup", Path::new("/sys/fs/cgroup"), "tmpfs", "mode=755")?;
    }
    for hierarchy in hierarchies {
        make_folder(&hierarchy.mount)?;
        match &hierarchy.kind {
            Kind::V1(controllers) => {
                mount_fs("cgroup", &hierarchy.mount, "cgroup", controllers)?;
                link_controllers(&hierarchy.mount, controllers)?;
            }
            Kind::V2 => mount_fs("cgroup2", &hierarchy.mount, "cgroup2", "")?,
        }
    }
    Ok(())
}

/// Where controllers share a hierarchy (`cpu,cpuacct`), programs look for each by its own name.
fn link_controllers(mount: &Path, controllers: &str) -> anyhow::Result<()> {
    let (Some(folder), Some(name)) = (mount.parent(), mount.file_name()) else { return Ok(()) };
    for controller in
        controllers.split(',').filter(|one| controllers.contains(',') && !one.contains(['=']) && *one != "none")
    {
        let link = folder.join(controller);
        if !link.exists() {
            std::os::unix::fs::symlink(name, &link).with_context(|| link.display().to_string())?;
        }
    }
    Ok(())
}

/// Puts a folder of the host's disk over one of the machine: reads see the machine's files, writes stay with the host.
fn overlay(folder: &HostFolder, name: &str, target: &str) -> anyhow::Result<()> {
    let (upper, work) = (folder.disk(name), folder.disk(&format!("{name}.work")));
    let options = format!("lowerdir={target},upperdir={},workdir={}", upper.display(), work.display());
    mount_fs("overlay", Path::new(target), "overlay", &options)
}

fn mount_disks(spec: &HostSpec, folder: &HostFolder) -> anyhow::Result<()> {
    let disk = Path::new(RUN).join("disk");
    let data = match spec.data_disk {
        DataDisk::Folder => folder.disk("jaco"),
        DataDisk::Ext4 { .. } => {
            let (image, target) = (folder.image().display().to_string(), disk.display().to_string());
            call("mount", &["-t", "ext4", "-o", "loop", &image, &target])?;
            disk.join("jaco")
        }
        DataDisk::Tmpfs { mib } => {
            mount_fs("tmpfs", &disk, "tmpfs", &format!("mode=755,size={mib}m"))?;
            disk.join("jaco")
        }
    };
    make_folder(&data)?;
    bind(&data, "/var/lib/jaco")?;
    bind(&folder.disk("docker"), "/var/lib/docker")?;
    bind(&folder.disk("etc-jaco"), "/etc/jaco")?;
    bind(&folder.disk("etc-docker"), "/etc/docker")
}

/// The few files of `/etc` that make a host another machine.
fn write_etc(spec: &HostSpec) -> anyhow::Result<()> {
    let mut hosts = "127.0.0.1 localhost\n".to_owned();
    for number in 1..=spec.hosts {
        hosts += &format!("{} {}\n", host_address(spec.subnet, number), host_name(number));
    }
    let files = [
        ("hosts", hosts),
        ("hostname", format!("{}\n", spec.name())),
        // An address where nothing listens refuses at once; one of 127.0.0.0/8 an engine would replace by a public one.
        ("resolv.conf", format!("nameserver {}\n", switch_address(spec.subnet))),
        ("machine-id", format!("{:032x}\n", spec.number)),
    ];
    for (name, text) in files {
        let path = Path::new("/etc").join(name);
        // May be a link to a file of the machine's /run.
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn start_engine(spec: &HostSpec, folder: &HostFolder) -> anyhow::Result<()> {
    let path = folder.log("dockerd.log");
    let log = File::options().create(true).append(true).open(&path).with_context(|| path.display().to_string())?;
    // Reaped with everything else below.
    Command::new("dockerd")
        .args(engine_arguments(spec))
        .env_remove("DOCKER_HOST")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("dockerd could not be started")?;
    Ok(())
}

/// Arguments of a host's engine: everything else is its default.
pub(crate) fn engine_arguments(spec: &HostSpec) -> Vec<String> {
    let mut arguments = vec!["--log-level=warn".to_owned(), format!("--insecure-registry=10.99.{}.0/24", spec.subnet)];
    arguments.extend(spec.docker_args.iter().cloned());
    arguments
}

/// Waits for children for ever. Everything was started before: what is blocked here is not inherited by anybody.
fn reap() -> anyhow::Result<()> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    set.thread_block().context("blocking SIGCHLD")?;
    loop {
        while matches!(waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive)
        {
        }
        set.wait().context("waiting for SIGCHLD")?;
    }
}

fn mount_fs(source: &str, target: &Path, kind: &str, options: &str) -> anyhow::Result<()> {
    mount(Some(source), target, Some(kind), MsFlags::empty(), Some(options))
        .with_context(|| format!("mounting {kind} ({options}) on {}", target.display()))
}

fn bind(source: &Path, target: &str) -> anyhow::Result<()> {
    make_folder(Path::new(target))?;
    let nothing: Option<&str> = None;
    mount(Some(source), target, nothing, MsFlags::MS_BIND, nothing)
        .with_context(|| format!("binding {} to {target}", source.display()))
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests;
