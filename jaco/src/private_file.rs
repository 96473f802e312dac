//! Files that hold secrets: read by their owner alone, whole or not there.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use jaco_types::{ErrorCode, UserError};

/// Makes a directory of mode 0700, with those above it; one that exists is left as it is.
pub fn make_directory(path: &Path) -> Result<(), UserError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| failed(path, &error))
}

/// Writes a file of mode 0600 under a temporary name, syncs it and renames it into place.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), UserError> {
    write_whole(path, content.as_ref()).map_err(|error| failed(path, &error))
}

fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| {
        drop(file);
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The first error is the one to report.
        fs::remove_file(&temporary).ok();
    }
    written
}

fn failed(path: &Path, error: &io::Error) -> UserError {
    UserError::new(ErrorCode::Usage, format!("{} cannot be written: {error}", path.display()))
        .with("path", path.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_for_the_owner_alone_and_replaces_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("a/b");
        make_directory(&inner).unwrap();
        let path = inner.join("secret");
        fs::write(&path, "old").unwrap();
        write(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1, "nothing else is left");
        let error = write(&directory.path().join("none/secret"), "x").unwrap_err();
        assert!(error.message.contains("none/secret"), "{error}");
    }
}
