//! What this machine can do for a lab, found by trying.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use jaco_e2e::announce;

use crate::cgroup::{Kind, hierarchies};

/// Something a lab, or one of its faults, needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// To be root.
    Root,
    /// Namespaces of all kinds.
    Namespaces,
    /// The overlay file system on the temporary directory.
    Overlay,
    /// `ip`, and `nft` with rules on bridges.
    Nftables,
    /// A Docker engine to start.
    Docker,
    /// A static busybox to build images from.
    Busybox,
    /// ext4 on loop devices: [`crate::DataDisk::Ext4`].
    Ext4,
    /// The kernel's delays: [`crate::Network::delay`].
    Netem,
    /// libfaketime: [`crate::Host::shift_clock`].
    Faketime,
}

impl Capability {
    /// Every one of them.
    pub const ALL: [Capability; 9] = [
        Capability::Root,
        Capability::Namespaces,
        Capability::Overlay,
        Capability::Nftables,
        Capability::Docker,
        Capability::Busybox,
        Capability::Ext4,
        Capability::Netem,
        Capability::Faketime,
    ];

    /// What a lab needs in any case.
    const BASIC: [Capability; 4] =
        [Capability::Root, Capability::Namespaces, Capability::Overlay, Capability::Nftables];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Capability::Root => "root",
            Capability::Namespaces => "namespaces",
            Capability::Overlay => "overlay",
            Capability::Nftables => "nftables",
            Capability::Docker => "docker",
            Capability::Busybox => "busybox",
            Capability::Ext4 => "ext4 on a loop device (a disk that fills up)",
            Capability::Netem => "netem (delay)",
            Capability::Faketime => "faketime (a shifted clock)",
        }
    }

    /// Whether a run that must not skip (`JACO_REQUIRE_ENGINE`) may do without it: netem is the kernel's business.
    fn is_optional(self) -> bool {
        match self {
            Capability::Netem | Capability::Faketime => true,
            Capability::Root
            | Capability::Namespaces
            | Capability::Overlay
            | Capability::Nftables
            | Capability::Docker
            | Capability::Busybox
            | Capability::Ext4 => false,
        }
    }
}

/// Layout of the machine's control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cgroups {
    /// v1 only.
    V1,
    /// v2 only.
    V2,
    /// v1 with a v2 tree beside it.
    Hybrid,
    /// None are mounted.
    None,
}

impl Cgroups {
    /// That of this machine.
    pub fn detect() -> Cgroups {
        let all = hierarchies();
        let v1 = all.iter().any(|one| matches!(one.kind, Kind::V1(_)));
        let v2 = all.iter().any(|one| one.kind == Kind::V2);
        match (v1, v2) {
            (true, true) => Cgroups::Hybrid,
            (true, false) => Cgroups::V1,
            (false, true) => Cgroups::V2,
            (false, false) => Cgroups::None,
        }
    }

    /// What is used of it, and which branch does not run here. Hosts are killed by their process namespace in every layout.
    pub fn note(self) -> &'static str {
        match self {
            Cgroups::V1 => "v1: frozen by its freezer; the v2 branch (cgroup.freeze) does not run here",
            Cgroups::V2 => "v2: frozen by cgroup.freeze; the v1 branch (freezer) does not run here",
            Cgroups::Hybrid => "hybrid: frozen by the v1 freezer; the v2 branch (cgroup.freeze) does not run here",
            Cgroups::None => "none are mounted: no freezing",
        }
    }
}

/// What was found on this machine.
#[derive(Debug, Clone)]
pub struct Capabilities {
    found: Vec<(Capability, Result<String, String>)>,
    cgroups: Cgroups,
}

impl Capabilities {
    /// Tries everything.
    pub fn detect() -> Capabilities {
        let found = Capability::ALL.iter().map(|capability| (*capability, check(*capability))).collect();
        Capabilities { found, cgroups: Cgroups::detect() }
    }

    /// Why this is not to be had here, if it is not.
    pub fn missing(&self, capability: Capability) -> Option<&str> {
        self.found
            .iter()
            .find(|(one, _)| *one == capability)
            .and_then(|(_, found)| found.as_ref().err().map(String::as_str))
    }

    /// Layout of the control groups.
    pub fn cgroups(&self) -> Cgroups {
        self.cgroups
    }
}

impl std::fmt::Display for Capabilities {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (capability, found) in &self.found {
            match found {
                Ok(note) => writeln!(formatter, "yes  {}: {note}", capability.name())?,
                Err(reason) => writeln!(formatter, "NO   {}: {reason}", capability.name())?,
            }
        }
        let word = if self.cgroups == Cgroups::None { "NO  " } else { "yes " };
        writeln!(formatter, "{word} cgroups {}", self.cgroups.note())
    }
}

/// Whether a test that needs a lab, and these things besides, can run here. Otherwise the reason is printed with the test's name and
/// the test passes as skipped; with `JACO_REQUIRE_ENGINE` set it fails, unless what is missing is netem or libfaketime.
#[must_use]
pub fn can_run(test: &str, needed: &[Capability]) -> bool {
    let missing = Capability::BASIC.iter().chain(needed).find_map(|one| check(*one).err().map(|reason| (*one, reason)));
    match missing {
        None => true,
        Some((capability, reason))
            if std::env::var_os("JACO_REQUIRE_ENGINE").is_some() && !capability.is_optional() =>
        {
            refuse(test, capability, &reason)
        }
        Some((capability, reason)) => {
            announce(&format!("SKIPPED {test}: it needs {}: {reason}", capability.name()));
            false
        }
    }
}

#[allow(clippy::panic)] // A test that was required to run and cannot has failed.
fn refuse(test: &str, capability: Capability, reason: &str) -> ! {
    panic!("{test} must run here and cannot: it needs {}: {reason}", capability.name())
}

/// Tries one thing: what was found, or why it is not to be had.
pub(crate) fn check(capability: Capability) -> Result<String, String> {
    match capability {
        Capability::Root if nix::unistd::Uid::effective().is_root() => Ok("this is root".to_owned()),
        Capability::Root => Err("this is not root".to_owned()),
        Capability::Namespaces => {
            attempt("unshare", &["--mount", "--net", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "true"])
                .map(|_| "all kinds".to_owned())
        }
        Capability::Overlay => check_overlay(),
        Capability::Nftables => {
            let script = "nft add table bridge lab && nft 'add chain bridge lab a { type filter hook forward priority 0; }' \
                          && nft add rule bridge lab a numgen random mod 100 '<' 5 drop && ip link add br0 type bridge";
            attempt("unshare", &["--net", "sh", "-ec", script]).map(|_| "rules on bridges".to_owned())
        }
        Capability::Docker => attempt("dockerd", &["--version"]).map(|text| text.trim().to_owned()),
        Capability::Busybox => {
            let path = "/bin/busybox";
            if std::path::Path::new(path).exists() { Ok(path.to_owned()) } else { Err(format!("there is no {path}")) }
        }
        Capability::Ext4 => attempt(
            "sh",
            &[
                "-ec",
                "command -v mkfs.ext4 mount losetup && test -e /dev/loop-control && grep -w ext4 /proc/filesystems",
            ],
        )
        .map(|_| "mkfs.ext4 and loop devices".to_owned()),
        Capability::Netem => {
            attempt("unshare", &["--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"])
                .map(|_| "the kernel has it".to_owned())
                .map_err(|text| format!("the kernel has no netem queue ({text})"))
        }
        Capability::Faketime => match faketime() {
            Some(path) => Ok(path.display().to_string()),
            None => Err("libfaketime is not installed (package libfaketime)".to_owned()),
        },
    }
}

fn check_overlay() -> Result<String, String> {
    let folder = tempfile::Builder::new().prefix("jaco-lab-try-").tempdir().map_err(|error| error.to_string())?;
    let script = "mkdir a b c; mount -t overlay overlay -o lowerdir=/etc,upperdir=a,workdir=b c";
    let script = format!("cd {} && {script}", folder.path().display());
    attempt("unshare", &["--mount", "sh", "-ec", &script]).map(|_| "over the temporary directory".to_owned())
}

/// The library of libfaketime for programs with threads: `JACO_FAKETIME`, or where Debian has it.
pub(crate) fn faketime() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("JACO_FAKETIME").map(PathBuf::from) {
        return path.exists().then_some(path);
    }
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    folders.flatten().map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

fn attempt(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().next().map_or_else(|| format!("{program} ended with {}", output.status), str::to_owned))
}
