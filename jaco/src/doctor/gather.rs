//! Looks at the machine. Every look is bounded in time and changes nothing; the sync measurement removes its file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tokio::process::Command;

use super::facts::{AppArmor, Cgroup, Clock, Config, Facts, Space, Sync};
use super::listeners::holders;
use super::{config, engine};

/// Samples of the sync measurement, and the time after which it ends with fewer.
const SAMPLES: usize = 32;
const SYNC_LIMIT: Duration = Duration::from_secs(3);

/// A record of the daemon's log is about this long, bytes.
const RECORD: usize = 1024;

/// Where to look.
#[derive(Debug, Clone)]
pub struct Places {
    /// The daemon's own file, which says the rest.
    pub config: PathBuf,
    /// The data directory in place of the file's; where it does not exist yet, the nearest directory above that does is measured.
    pub data_dir: Option<PathBuf>,
    /// The engine's socket in place of the file's.
    pub docker_socket: Option<PathBuf>,
}

/// Gathers everything.
pub async fn gather(places: &Places) -> Facts {
    let configured = config::read(&places.config);
    let directory = nearest(places.data_dir.as_ref().unwrap_or(&configured.data_dir));
    Facts {
        config: Config { path: places.config.clone(), file: configured.file },
        engine: engine::ask(places.docker_socket.as_ref().unwrap_or(&configured.docker_socket)),
        apparmor: AppArmor {
            in_kernel: fs::read_to_string("/sys/module/apparmor/parameters/enabled")
                .is_ok_and(|text| text.trim() == "Y"),
            has_parser: has_program("apparmor_parser"),
        },
        cgroup: cgroup(Path::new("/sys/fs/cgroup")),
        ports: holders(&configured.ports),
        sync: measure_sync(&directory).map_err(|error| format!("{}: {error}", directory.display())),
        clock: clock().await,
        space: space(&directory),
        tun: fs::metadata("/dev/net/tun").is_ok_and(|metadata| metadata.file_type().is_char_device()),
        nft: has_program("nft"),
    }
}

/// The directory itself or the nearest one above it that exists.
fn nearest(directory: &Path) -> PathBuf {
    directory.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Whether a program is in the search path, or where system programs are that a user's search path may leave out.
fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    directories.any(|directory| {
        fs::metadata(directory.join(name)).is_ok_and(|file| file.is_file() && file.mode() & 0o111 != 0)
    })
}

fn cgroup(root: &Path) -> Cgroup {
    if root.join("cgroup.controllers").exists() {
        return Cgroup::V2;
    }
    let v1 = root.join("memory").is_dir() || root.join("cpu").is_dir();
    match (v1, root.join("unified").is_dir()) {
        (true, true) => Cgroup::Hybrid,
        (true, false) => Cgroup::V1,
        (false, _) => Cgroup::Absent,
    }
}

/// Appends and syncs records as the log does.
fn measure_sync(directory: &Path) -> io::Result<Sync> {
    let path = directory.join(format!(".jaco-doctor-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let samples = sync_samples(file);
    let removed = fs::remove_file(&path);
    let mut samples = samples?;
    removed?;
    samples.sort();
    let median = samples.get(samples.len() / 2).copied().unwrap_or_default();
    let worst = samples.last().copied().unwrap_or_default();
    Ok(Sync { directory: directory.to_owned(), median, worst })
}

fn sync_samples(mut file: File) -> io::Result<Vec<Duration>> {
    let begin = Instant::now();
    let record = [0x5a; RECORD];
    let mut samples = Vec::with_capacity(SAMPLES);
    while samples.len() < SAMPLES && (samples.is_empty() || begin.elapsed() < SYNC_LIMIT) {
        let start = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        samples.push(start.elapsed());
    }
    Ok(samples)
}

async fn clock() -> Clock {
    let built = humantime::parse_rfc3339(env!("JACO_BUILT_AT")).unwrap_or(SystemTime::UNIX_EPOCH);
    Clock { synchronized: synchronized().await, before_build: SystemTime::now() < built }
}

/// What systemd knows of the kernel's clock.
async fn synchronized() -> Option<bool> {
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(5), command.output()).await.ok()?.ok()?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn space(directory: &Path) -> Result<Space, String> {
    let system = rustix::fs::statvfs(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let size = |blocks: u64| blocks.saturating_mul(system.f_frsize);
    Ok(Space { directory: directory.to_owned(), available: size(system.f_bavail), total: size(system.f_blocks) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measurement_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let sync = measure_sync(directory.path()).unwrap();
        assert!(sync.median <= sync.worst && sync.worst > Duration::ZERO);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(measure_sync(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn control_groups_are_told_apart() {
        let make = |entries: &[&str]| {
            let root = tempfile::tempdir().unwrap();
            for entry in entries {
                fs::create_dir(root.path().join(entry)).unwrap();
            }
            cgroup(root.path())
        };
        assert_eq!(make(&["cgroup.controllers"]), Cgroup::V2);
        assert_eq!(make(&["memory", "unified"]), Cgroup::Hybrid);
        assert_eq!(make(&["memory"]), Cgroup::V1);
        assert_eq!(make(&[]), Cgroup::Absent);
    }

    #[test]
    fn a_data_directory_that_is_not_there_yet_is_measured_above() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&directory.path().join("a/b")), directory.path());
    }
}
