//! Files replaced as a whole: temporary file, sync, rename, sync of the directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Who shall own what is written: the owner and group of the data directory, so that a command run by root leaves nothing behind
/// that the service user cannot read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    pub(crate) fn of(path: &Path) -> io::Result<Owner> {
        let metadata = fs::metadata(path)?;
        Ok(Owner { user: metadata.uid(), group: metadata.gid() })
    }

    /// Gives a file away when it is not the owner's already. Only root can: what anybody else writes stays that user's own.
    fn give(self, file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        if (metadata.uid(), metadata.gid()) == (self.user, self.group) {
            return Ok(());
        }
        match std::os::unix::fs::fchown(file, Some(self.user), Some(self.group)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            given => given,
        }
    }
}

/// Makes a directory when it is missing, and gives it the mode and the owner either way.
pub(crate) fn directory(path: &Path, mode: u32, owner: Owner) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_directory)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let directory = File::open(path)?;
    owner.give(&directory)?;
    if directory.metadata()?.permissions().mode() & 0o7777 != mode {
        directory.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Replaces a file. Either the old content or the new one is there after a crash at any moment, never a part.
pub(crate) fn file(path: &Path, content: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let written = write(&temporary, content, mode, owner).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one that matters.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    path.parent().map_or(Ok(()), sync_directory)
}

fn write(temporary: &Path, content: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
    // A left-over of a crash may have another mode: it goes, and the new one is made with the right one from the start.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(mode & 0o600).open(temporary)?;
    owner.give(&file)?;
    // Wider than the owner only after the file has its final group.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}
