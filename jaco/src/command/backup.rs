//! `backup`: everything the cluster keeps, as one file. The file is there whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use jaco_proto::v1::backup_response::Part;
use jaco_types::{ErrorCode, UserError};
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::printer::Format;
use crate::session::Session;
use crate::view::backup::Backup;

/// Default deadline, for the whole file.
const WHOLE: Duration = Duration::from_secs(300);

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to write the backup; --output does the same when it names no format.
    #[arg(long, value_name = "PATH")]
    file: PathBuf,
}

pub async fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let deadline = session.deadline(WHOLE);
    let client = session.connect().await?;
    let mut partial = Partial::begin(&arguments.file)?;
    let mut pieces = client.backup(deadline).await?;
    let done = loop {
        let Some(next) = deadline.limit(pieces.next()).await else {
            let text = format!(
                "the backup was not complete within {}s; --timeout sets a longer deadline",
                deadline.length().as_secs()
            );
            return Err(UserError::new(ErrorCode::Unreachable, text).into());
        };
        match next?.and_then(|message| message.part) {
            Some(Part::Data(data)) => partial.write(&data)?,
            Some(Part::Done(done)) => break done,
            None => return Err(broken("the connection ended before the backup did").into()),
        }
    };
    let (bytes, sha256) = partial.seen();
    if (bytes, &sha256) != (done.bytes, &done.sha256) {
        return Err(broken("what arrived is not what was sent").into());
    }
    partial.finish()?;
    session.printer().show(&Backup {
        path: arguments.file.display().to_string(),
        bytes,
        snapshot_index: done.snapshot_index,
        cluster_id: done.cluster_id,
        sha256,
    })
}

fn broken(reason: &str) -> UserError {
    UserError::new(ErrorCode::Unreachable, format!("the backup was not written: {reason}; try again"))
}

/// The file while it is not whole; gone when it is dropped before its end.
struct Partial<'a> {
    destination: &'a Path,
    temporary: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
    finished: bool,
}

impl<'a> Partial<'a> {
    fn begin(destination: &'a Path) -> Result<Self, UserError> {
        let failed = |error: &io::Error| cannot_write(destination, error);
        let name = destination.file_name().ok_or_else(|| failed(&io::ErrorKind::InvalidInput.into()))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", std::process::id()));
        let temporary = destination.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
        let file = BufWriter::new(file.map_err(|error| failed(&error))?);
        Ok(Partial { destination, temporary, file, hash: Sha256::new(), bytes: 0, finished: false })
    }

    fn write(&mut self, data: &[u8]) -> Result<(), UserError> {
        self.hash.update(data);
        self.bytes += data.len() as u64;
        self.file.write_all(data).map_err(|error| cannot_write(self.destination, &error))
    }

    /// Bytes and SHA-256 so far.
    fn seen(&self) -> (u64, String) {
        let digest = self.hash.clone().finalize();
        (self.bytes, digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn finish(mut self) -> Result<(), UserError> {
        self.settle().map_err(|error| cannot_write(self.destination, &error))?;
        self.finished = true;
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.temporary, self.destination)?;
        let directory = self.destination.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // What ended the command is what matters; a name that begins with a dot is all that can be left.
            fs::remove_file(&self.temporary).ok();
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> UserError {
    UserError::new(ErrorCode::Usage, format!("{} cannot be written: {error}", path.display()))
        .with("path", path.display())
}

/// `backup --output <path>` means the destination unless it names a format: that spelling becomes `--file`.
pub fn destination_as_file(arguments: &[OsString]) -> Vec<OsString> {
    if !arguments.iter().any(|word| word == "backup") {
        return arguments.to_vec();
    }
    let mut words = Vec::with_capacity(arguments.len());
    let mut rest = arguments.iter().peekable();
    while let Some(word) = rest.next() {
        let names_path = |value: &OsStr| value != "backup" && !value.to_str().is_some_and(is_format);
        if (word == "--output" || word == "-o") && rest.peek().is_some_and(|value| names_path(value)) {
            words.push("--file".into());
            continue;
        }
        match word.to_str().and_then(|text| text.strip_prefix("--output=")) {
            Some(value) if !is_format(value) => words.push(format!("--file={value}").into()),
            Some(_) | None => words.push(word.clone()),
        }
    }
    words
}

fn is_format(text: &str) -> bool {
    Format::from_str(text, false).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn rewritten(line: &str) -> String {
        let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        let words: Vec<String> =
            destination_as_file(&words).into_iter().map(|word| word.into_string().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn an_output_that_is_no_format_is_the_destination_of_a_backup() {
        for (given, meant) in [
            ("jaco backup --output /b", "jaco backup --file /b"),
            ("jaco --output b.tar.gz backup", "jaco --file b.tar.gz backup"),
            ("jaco backup --output=/b -o json", "jaco backup --file=/b -o json"),
            ("jaco backup -o /b --format yaml", "jaco backup --file /b --format yaml"),
            ("jaco backup --file b --output json", "jaco backup --file b --output json"),
            ("jaco backup --output=table", "jaco backup --output=table"),
            ("jaco status --output /b", "jaco status --output /b"),
        ] {
            assert_eq!(rewritten(given), meant);
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_there_whole_and_for_its_owner_alone_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.tar.gz");
        fs::write(&path, "old").unwrap();
        let mut partial = Partial::begin(&path).unwrap();
        partial.write(b"half").unwrap();
        drop(partial);
        assert_eq!(names(folder.path()), ["b.tar.gz"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let mut partial = Partial::begin(&path).unwrap();
        partial.write(b"new").unwrap();
        assert_eq!(partial.seen().0, 3);
        partial.finish().unwrap();
        assert_eq!(names(folder.path()), ["b.tar.gz"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Partial::begin(&folder.path().join("none/b")).is_err());
    }
}
