//! Data disks with a limit.

use anyhow::ensure;
use jaco_lab::{DataDisk, Host, Lab, LabOptions};

use crate::Rig;

fn write(host: &Host, name: &str, kib: u32) -> anyhow::Result<bool> {
    let (file, count) = (format!("of=/var/lib/jaco/{name}"), format!("count={kib}"));
    Ok(host.run(&["dd", "if=/dev/zero", &file, "bs=1024", &count, "conv=fsync"])?.is_success())
}

fn fill_and_free(host: &Host) -> anyhow::Result<()> {
    ensure!(write(host, "before", 64)?);
    host.fill_disk(0)?;
    ensure!(!write(host, "full", 64)?, "a full disk took 64 KiB");
    host.fill_disk(512 << 10)?;
    ensure!(write(host, "full", 64)?, "a disk with 512 KiB left did not take 64");
    ensure!(!write(host, "much", 1024)?, "a disk with 512 KiB left took 1024");
    host.free_disk()?;
    ensure!(write(host, "much", 1024)?);
    host.free_disk()
}

fn lab(rig: &mut Rig, data_disk: DataDisk) -> anyhow::Result<Lab> {
    rig.down()?;
    Lab::start(LabOptions { hosts: 1, docker: false, data_disk, ..LabOptions::default() })
}

/// ext4 on a loop device.
pub(crate) fn a_disk_fills_up_and_survives_its_host(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = lab(rig, DataDisk::Ext4 { mib: 16 })?;
    let host = lab.host(1);
    ensure!(host.run(&["findmnt", "--noheadings", "--output", "FSTYPE", "/var/lib/jaco"])?.ok()?.trim() == "ext4");
    fill_and_free(host)?;
    host.kill()?;
    host.boot()?;
    ensure!(host.run(&["ls", "/var/lib/jaco"])?.ok()? == "before\nfull\nmuch\n");
    lab.down()
}

/// tmpfs: as full, and gone with its host.
pub(crate) fn a_memory_disk_fills_up(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = lab(rig, DataDisk::Tmpfs { mib: 16 })?;
    let host = lab.host(1);
    fill_and_free(host)?;
    host.kill()?;
    host.boot()?;
    ensure!(host.run(&["ls", "/var/lib/jaco"])?.ok()?.is_empty());
    lab.down()
}
