//! The log of this crate beside `raft-log`, the other candidate, for `docs/adr/0001-log-storage.md`: speed, a cut-off acknowledged
//! record, and a full disk (root only: it mounts a small tmpfs).
//!
//! `log_candidates [directory] [seconds per round]`
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jaco_controlplane::{FileLog, FileLogOptions, LogEntry, LogId, LogStorage, LogWrite, Payload};
use raft_log::RaftLog;
use raft_log::api::raft_log_writer::RaftLogWriter;
use raft_log::api::types::Types;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Candidate;

impl Types for Candidate {
    type LogId = (u64, u64);
    type LogPayload = String;
    type Vote = (u64, u64);
    type UserData = String;
    type Callback = SyncSender<io::Result<()>>;

    fn log_index(id: &(u64, u64)) -> u64 {
        id.1
    }

    fn payload_size(payload: &String) -> u64 {
        payload.len() as u64
    }
}

/// Something that makes a batch of entries durable and returns then.
trait Log {
    fn append(&mut self, first: u64, count: u64) -> io::Result<()>;
    fn last(&self) -> Option<u64>;
}

const BODY: usize = 256;

struct Theirs(RaftLog<Candidate>);

impl Theirs {
    fn open(directory: &Path) -> io::Result<Theirs> {
        std::fs::create_dir_all(directory)?;
        let mut config = raft_log::Config::new(directory.display());
        config.log_cache_capacity = Some(4 << 20);
        config.wal.chunk_max_size = Some(8 << 20);
        config.wal.read_buffer_size = Some(1 << 20);
        config.wal.flush_batch_wait = Some(Duration::ZERO);
        RaftLog::open(Arc::new(config)).map(Theirs)
    }
}

impl Log for Theirs {
    fn append(&mut self, first: u64, count: u64) -> io::Result<()> {
        self.0.append((first..first + count).map(|index| ((1, index), "x".repeat(BODY))))?;
        let (sender, receiver) = sync_channel(1);
        self.0.flush(true, Some(sender))?;
        receiver.recv().map_err(io::Error::other)?
    }

    fn last(&self) -> Option<u64> {
        self.0.log_state().last().map(|id| id.1)
    }
}

struct Ours(FileLog);

impl Ours {
    fn open(directory: &Path) -> io::Result<Ours> {
        let options = FileLogOptions { min_free_bytes: 1 << 20, ..FileLogOptions::new(directory, 1) };
        FileLog::open(options).map(Ours).map_err(io::Error::other)
    }
}

impl Log for Ours {
    fn append(&mut self, first: u64, count: u64) -> io::Result<()> {
        let body = Payload::Command(Bytes::from(vec![b'x'; BODY]));
        let entry = |index| LogEntry { id: LogId { term: 1, index }, payload: Some(body.clone()) };
        let (sender, receiver) = sync_channel(1);
        let done = Box::new(move |result| sender.send(result).expect("somebody waits"));
        self.0.submit(LogWrite::Append((first..first + count).map(entry).collect()), done);
        receiver.recv().map_err(io::Error::other)?
    }

    fn last(&self) -> Option<u64> {
        self.0.state().last.map(|id| id.index)
    }
}

type Open = fn(&Path) -> io::Result<Box<dyn Log>>;

const CANDIDATES: [(&str, Open); 2] = [
    ("raft-log", |directory| Theirs::open(directory).map(|log| Box::new(log) as Box<dyn Log>)),
    ("own segments", |directory| Ours::open(directory).map(|log| Box::new(log) as Box<dyn Log>)),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds: f64 = arguments.next().map_or(2.0, |seconds| seconds.parse().expect("seconds per round, a number"));
    for (name, open) in CANDIDATES {
        let scratch = tempfile::tempdir_in(&directory).unwrap();
        for batch in [1, 64] {
            let rate =
                speed(open, &scratch.path().join(format!("speed-{batch}")), batch, Duration::from_secs_f64(seconds));
            println!("{name}: batch {batch}: {rate:.0} entries/s");
        }
        println!("{name}: last acknowledged record cut off: {}", cut_off(open, &scratch.path().join("cut")));
        println!("{name}: full disk: {}", full_disk(open, &scratch.path().join("full")));
    }
}

fn speed(open: Open, directory: &Path, batch: u64, round: Duration) -> f64 {
    let mut log = open(directory).unwrap();
    let begun = Instant::now();
    let mut next = 0;
    while begun.elapsed() < round {
        log.append(next, batch).unwrap();
        next += batch;
    }
    next as f64 / begun.elapsed().as_secs_f64()
}

/// Ten acknowledged entries; then the newest used file loses its last used bytes, as file systems and copies do lose them.
fn cut_off(open: Open, directory: &Path) -> String {
    let mut log = open(directory).unwrap();
    for index in 0..10 {
        log.append(index, 1).unwrap();
    }
    drop(log);
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let used = |path: &PathBuf| std::fs::read(path).unwrap().iter().skip(64).any(|byte| *byte != 0);
    let path = files.into_iter().rfind(used).unwrap();
    let content = std::fs::read(&path).unwrap();
    let end = content.iter().rposition(|byte| *byte == b'x').unwrap();
    std::fs::write(&path, &content[..end - 20]).unwrap();
    match open(directory) {
        Ok(log) => format!("opens, and the last of 10 entries is number {:?}", log.last().map(|last| last + 1)),
        Err(error) => format!("does not open: {error}"),
    }
}

/// Appends until the disk is full, makes room again, goes on, opens again.
fn full_disk(open: Open, mount: &Path) -> String {
    std::fs::create_dir(mount).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=40m", "none"]).arg(mount).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return "skipped: a tmpfs cannot be mounted here".to_owned();
    }
    let result = fill_and_go_on(open, mount);
    let _ = Command::new("umount").arg("-l").arg(mount).status();
    result
}

fn fill_and_go_on(open: Open, mount: &Path) -> String {
    let mut log = open(&mount.join("log")).unwrap();
    log.append(0, 1).unwrap();
    let filler = mount.join("filler");
    let mut file = OpenOptions::new().create(true).append(true).open(&filler).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    let mut next = 1;
    let mut error = None;
    while error.is_none() && next < 10_000 {
        match log.append(next, 1) {
            Ok(()) => next += 1,
            Err(failed) => error = Some(failed.to_string()),
        }
    }
    std::fs::remove_file(&filler).unwrap();
    let again = log.append(next, 1).map_or_else(|error| error.to_string(), |()| "works".to_owned());
    drop(log);
    let reopened =
        open(&mount.join("log")).map_or_else(|error| error.to_string(), |log| format!("last {:?}", log.last()));
    let error = error.unwrap_or_else(|| "none in 10,000 appends".to_owned());
    format!("{next} entries until an error ({error}); with room again: {again}; opened again: {reopened}")
}
