//! Putting a new life in place: built beside the old state, decided by one rename, finished at the next start if the process dies
//! in between. Blocks.
//!
//! `new-life.part` is being built and means nothing. `new-life` is decided: what is in it goes to its place, and what was there goes
//! away, or is kept under `before-recover-<n>`.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

use crate::data_dir::{DataDirLock, sync_directory};

const PART: &str = "new-life.part";
const DECIDED: &str = "new-life";
/// In it: what was replaced and is to be kept.
const KEPT: &str = "kept";
/// In it: what was replaced and goes.
const DISCARDED: &str = "discarded";
const BACKUP: &str = "before-recover";
/// What a life consists of. The node's own part goes first: it is what says that there is a member.
const PARTS: [&str; 2] = ["node", "raft"];

/// What becomes of the state that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// It is kept beside the new one.
    Keep,
    /// It goes: there was nothing of worth in it.
    Discard,
}

/// A new life that is being built. Dropped without [`Staging::commit`] it leaves nothing behind.
#[derive(Debug)]
pub struct Staging<'a> {
    lock: &'a DataDirLock,
    path: PathBuf,
}

impl<'a> Staging<'a> {
    /// Begins to build, in the data directory itself, so that renames are within one file system.
    ///
    /// # Errors
    /// The disk or the permissions.
    pub fn begin(lock: &'a DataDirLock, replaced: Replaced) -> io::Result<Staging<'a>> {
        Staging::finish(lock)?;
        let path = lock.path().join(PART);
        remove_tree(&path)?;
        let owner = owner(lock.path())?;
        let make = |path: &Path| {
            DirBuilder::new().mode(0o700).create(path)?;
            give(path, owner)
        };
        make(&path)?;
        let staging = Staging { lock, path };
        if replaced == Replaced::Keep {
            make(&staging.path.join(KEPT))?;
        }
        Ok(staging)
    }

    /// Where to build: it becomes the data directory's content.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes what was built the content of the data directory, with the owner that the data directory has. After an error before the
    /// decision nothing has changed; after one behind it the next start finishes.
    ///
    /// # Errors
    /// The disk or the permissions.
    pub fn commit(self) -> io::Result<()> {
        let data_dir = self.lock.path();
        settle(&self.path, owner(data_dir)?)?;
        give(&data_dir.join("lock"), owner(data_dir)?)?;
        fs::rename(&self.path, data_dir.join(DECIDED))?;
        sync_directory(data_dir)?;
        Staging::finish(self.lock).map(|_| ())
    }

    /// Finishes what was decided and not carried out; to be called at every start, before anything in the data directory is looked at.
    /// Says whether there was something.
    ///
    /// # Errors
    /// The disk or the permissions; to be tried again.
    pub fn finish(lock: &DataDirLock) -> io::Result<bool> {
        let data_dir = lock.path();
        let decided = data_dir.join(DECIDED);
        if !decided.try_exists()? {
            return Ok(false);
        }
        let kept = decided.join(KEPT);
        let aside = if kept.try_exists()? { kept.clone() } else { decided.join(DISCARDED) };
        for part in PARTS {
            let (new, place) = (decided.join(part), data_dir.join(part));
            // Not there any more when it was moved before the process died.
            if !new.try_exists()? {
                continue;
            }
            if place.try_exists()? {
                fs::create_dir_all(&aside)?;
                fs::rename(&place, aside.join(part))?;
                sync_directory(&aside)?;
                sync_directory(data_dir)?;
            }
            fs::rename(&new, &place)?;
            sync_directory(data_dir)?;
            sync_directory(&decided)?;
        }
        if kept.try_exists()? {
            fs::rename(&kept, free_name(data_dir)?)?;
            sync_directory(data_dir)?;
        }
        remove_tree(&decided)?;
        sync_directory(data_dir)?;
        Ok(true)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // What is left is removed at the next attempt, and means nothing until then.
        let _ = remove_tree(&self.path);
    }
}

fn free_name(data_dir: &Path) -> io::Result<PathBuf> {
    for number in 1u32.. {
        let path = data_dir.join(format!("{BACKUP}-{number}"));
        if !path.try_exists()? {
            return Ok(path);
        }
    }
    Err(io::Error::other("no free name is left"))
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

type Owner = (u32, u32);

fn owner(path: &Path) -> io::Result<Owner> {
    fs::metadata(path).map(|metadata| (metadata.uid(), metadata.gid()))
}

/// Only root can give a file away: what anybody else writes stays that user's own.
fn give(path: &Path, (user, group): Owner) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if (metadata.uid(), metadata.gid()) == (user, group) {
        return Ok(());
    }
    match lchown(path, Some(user), Some(group)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        given => given,
    }
}

/// Gives a tree its owner and makes it durable.
fn settle(path: &Path, owner: Owner) -> io::Result<()> {
    give(path, owner)?;
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            settle(&entry?.path(), owner)?;
        }
    } else if !kind.is_file() {
        return Ok(());
    }
    File::open(path)?.sync_all()
}
