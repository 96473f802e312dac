//! An archive of files that is built in memory: a gzip tar with one folder at its top.

use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;
use jaco_types::UserError;
use serde::Serialize;
use tar::{Builder, Header};

/// The archive so far.
pub struct Bundle {
    folder: String,
    archive: Builder<GzEncoder<Vec<u8>>>,
    modified: u64,
}

impl Bundle {
    /// With this folder at its top; every file counts as changed at `modified`, seconds since the Unix epoch.
    pub fn new(folder: &str, modified: u64) -> Self {
        let archive = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        Bundle { folder: folder.to_owned(), archive, modified }
    }

    /// Adds a file. Whoever names it, its path stays below the folder.
    pub fn add(&mut self, path: &str, data: &[u8]) -> Result<(), UserError> {
        let safe: Vec<String> = path.split('/').map(plain).filter(|part| !part.is_empty()).collect();
        let mut header = Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.modified);
        let path = format!("{}/{}", self.folder, safe.join("/"));
        self.archive.append_data(&mut header, path, data).map_err(|error| failed(&error))
    }

    /// Adds a value as a JSON file.
    pub fn add_json(&mut self, path: &str, value: &impl Serialize) -> Result<(), UserError> {
        let mut text = serde_json::to_vec_pretty(value)
            .map_err(|error| UserError::internal(format!("{path} cannot be written"), error))?;
        text.push(b'\n');
        self.add(path, &text)
    }

    /// The whole archive.
    pub fn finish(self) -> Result<Vec<u8>, UserError> {
        self.archive.into_inner().and_then(GzEncoder::finish).map_err(|error| failed(&error))
    }
}

/// One part of a path: nothing that leads elsewhere, and nothing that a terminal would act on.
fn plain(part: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    part.chars().filter(allowed).collect::<String>().trim_start_matches('.').to_owned()
}

fn failed(error: &io::Error) -> UserError {
    UserError::internal("the archive cannot be made", error)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn files_come_out_as_they_went_in_below_one_folder() {
        let mut bundle = Bundle::new("top", 1_700_000_000);
        bundle.add("a.txt", b"first").unwrap();
        bundle.add_json("nodes/n1/b.json", &[1, 2]).unwrap();
        bundle.add("../../etc/.passwd\x1b[2J", b"third").unwrap();
        let bytes = bundle.finish().unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            assert_eq!(entry.header().mode().unwrap(), 0o600, "{path}");
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((path, text));
        }
        let expected =
            [("top/a.txt", "first"), ("top/nodes/n1/b.json", "[\n  1,\n  2\n]\n"), ("top/etc/passwd2J", "third")];
        assert_eq!(found, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }
}
