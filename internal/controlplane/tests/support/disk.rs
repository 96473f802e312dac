//! Disks of our own: an ext4 image that can be cut off from its power, and a small tmpfs. Unmounted and removed when dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Whether this process may mount; says by name what is skipped if not.
pub fn can_mount(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("SKIPPED {test}: it mounts a file system, which needs root");
    }
    root
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An ext4 file system in a file.
pub struct LoopDisk {
    scratch: TempDir,
    mounted: bool,
}

impl LoopDisk {
    /// Makes and mounts one of this size.
    pub fn new(megabytes: u64) -> LoopDisk {
        let scratch = tempfile::Builder::new().prefix("jaco-controlplane-test-").tempdir().unwrap();
        let image = scratch.path().join("image");
        File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", "-E", "nodiscard", text(&image)]);
        std::fs::create_dir(scratch.path().join("mount")).unwrap();
        let mut disk = LoopDisk { scratch, mounted: false };
        disk.mount();
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join("mount")
    }

    pub fn mount(&mut self) {
        let image = self.scratch.path().join("image");
        run("mount", &["-o", "loop", text(&image), text(&self.path())]);
        self.mounted = true;
    }

    /// Unmounts; retried, since a process that was just killed may hold it for a moment longer.
    pub fn unmount(&mut self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let output = Command::new("umount").arg(self.path()).output().unwrap();
            if output.status.success() {
                break;
            }
            let reason = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(std::time::Instant::now() < deadline, "umount {}: {reason}", self.path().display());
            std::thread::yield_now();
        }
        self.mounted = false;
    }

    /// What a power cut does: from now on nothing reaches the disk, what the journal holds in memory is lost, and every call fails.
    #[allow(unsafe_code)] // There is no safe wrapper for this request of ext4.
    pub fn cut_power(&self) {
        /// `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)`.
        const SHUTDOWN: libc::c_ulong = 0x8004_587d;
        /// `EXT4_GOING_FLAGS_NOLOGFLUSH`: do not write out the journal first.
        const NO_LOG_FLUSH: u32 = 2;
        use std::os::fd::AsRawFd;
        let directory = File::open(self.path()).unwrap();
        let flags = NO_LOG_FLUSH;
        // SAFETY: the request reads one u32 through a pointer that is valid for the call.
        let result = unsafe { libc::ioctl(directory.as_raw_fd(), SHUTDOWN, &raw const flags) };
        assert_eq!(result, 0, "EXT4_IOC_SHUTDOWN: {}", std::io::Error::last_os_error());
    }

    /// Power back: unmount, mount (which replays the journal).
    pub fn restore_power(&mut self) {
        self.unmount();
        self.mount();
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(self.path()).output();
        }
    }
}

/// A file system in memory of a fixed size.
pub struct Tmpfs {
    scratch: TempDir,
}

impl Tmpfs {
    pub fn new(megabytes: u64) -> Tmpfs {
        let scratch = tempfile::Builder::new().prefix("jaco-controlplane-test-").tempdir().unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "none", text(scratch.path())]);
        Tmpfs { scratch }
    }

    pub fn path(&self) -> &Path {
        self.scratch.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}
