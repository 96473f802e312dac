//! A host's disks: filled up, freed, lost.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};

use super::Host;
use crate::options::DataDisk;

/// Below the mount point of the data disk, beside the data.
const BALLAST: &str = "/run/lab/disk/ballast";

impl Host {
    /// Fills the disk of `/var/lib/jaco` but for so many bytes, in place of an earlier filling. Needs a data disk with a limit.
    pub fn fill_disk(&self, leave: u64) -> anyhow::Result<()> {
        let path = self.ballast()?;
        let mut file = File::create(&path).context("the ballast")?;
        let status = fstatvfs(&file)?;
        let mut wanted = (status.f_bavail * status.f_frsize).saturating_sub(leave);
        let mut length = 0;
        // What the file system needs for itself, as for the file's extents, is not to be known beforehand.
        while wanted >= status.f_frsize {
            match fallocate(&file, FallocateFlags::empty(), length, wanted) {
                Ok(()) => {
                    length += wanted;
                    let free = fstatvfs(&file)?;
                    wanted = (free.f_bavail * free.f_frsize).saturating_sub(leave);
                }
                Err(rustix::io::Errno::NOSPC) => wanted /= 2,
                Err(error) => return Err(error).context("filling the disk"),
            }
        }
        if leave == 0 {
            // To the very end: a file system may give a writer a little more.
            use std::io::Seek;
            file.seek(std::io::SeekFrom::End(0))?;
            while file.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
        }
        Ok(())
    }

    /// Undoes [`Host::fill_disk`].
    pub fn free_disk(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(self.ballast()?) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("the ballast"),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn ballast(&self) -> anyhow::Result<PathBuf> {
        match self.spec.data_disk {
            DataDisk::Ext4 { .. } | DataDisk::Tmpfs { .. } => self.path(BALLAST),
            DataDisk::Folder => bail!("{} has no data disk that could be full: see LabOptions::data_disk", self.name()),
        }
    }

    /// Loses all disks of a dead host: the next boot is that of a new machine with the same name and address.
    pub fn wipe_disk(&self) -> anyhow::Result<()> {
        ensure!(!self.is_running(), "{} is running", self.name());
        let disks = self.folder.path().join("disk");
        std::fs::remove_dir_all(&disks).with_context(|| disks.display().to_string())?;
        self.folder.make()
    }
}
