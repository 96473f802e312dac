//! The state of a data directory whose daemon is stopped, and a data directory for a state. Blocks.

use std::io;
use std::path::Path;
use std::sync::mpsc;

use jaco_state::{Entry, EntryMeta, StateMachine};
use jaco_types::NodeId;

use crate::control_plane::OpenError;
use crate::data_dir::create_directory;
use crate::identity::{IdentityError, Incarnation, open_identity};
use crate::log::{
    FileLog, FileLogOptions, LogEntry, LogId, LogOpenError, LogStorage, LogWrite, Member, Membership, Payload, Vote,
    VoterSet,
};
use crate::snapshot::{SnapshotMeta, SnapshotOpenError, SnapshotStore};

/// Entries are read from the log in pieces of about this size, bytes.
const PIECE: u64 = 4 << 20;

/// What a data directory holds.
#[derive(Debug)]
pub struct OfflineState {
    /// The newest snapshot with everything in the log behind it applied, known to be committed or not.
    pub machine: StateMachine,
    /// The incarnation of the data directory.
    pub incarnation: u64,
}

/// Reads the state of a node, up to the last entry in its log. `None`: the directory has none.
///
/// The entries at the end of the log that are not known to be committed count, too: that they were acknowledged cannot be ruled out, and
/// what was acknowledged must not be lost. Only the end of a write that was cut off is removed from disk, as at every start.
///
/// # Errors
/// Those of opening the store.
pub fn read_state(data_dir: &Path, node: NodeId) -> Result<Option<OfflineState>, OpenError> {
    let directory = data_dir.join("raft");
    let there = |path: &Path| path.try_exists().map_err(|source| OpenError::Directory { path: path.into(), source });
    if !there(&directory.join("identity"))? {
        return Ok(None);
    }
    let incarnation = open_identity(&directory, node, Incarnation::Fresh(0))?;
    let snapshots = SnapshotStore::new(SnapshotStore::directory(directory.join("snapshots"))?, incarnation);
    let mut machine = snapshots.load_newest()?.map(|(machine, _)| machine).unwrap_or_default();
    let log = FileLog::open(FileLogOptions::new(directory.join("log"), incarnation))?;
    let replayed = replay(&mut machine, &log, &directory);
    log.close();
    replayed.map(|()| Some(OfflineState { machine, incarnation }))
}

fn replay(machine: &mut StateMachine, log: &FileLog, directory: &Path) -> Result<(), OpenError> {
    let state = log.state();
    let held = machine.view().index();
    if let Some(purged) = state.purged.filter(|purged| held < purged.index) {
        let path = directory.join("snapshots");
        return Err(OpenError::SnapshotMissing { path, snapshot: held, purged: purged.index });
    }
    // A state without a snapshot begins before index 0, which `held` cannot say.
    let mut next = if machine.view().term() == 0 && held == 0 { 0 } else { held + 1 };
    let end = state.last.map_or(0, |last| last.index + 1);
    while next < end {
        let unreadable = |source| OpenError::Directory { path: directory.join("log"), source };
        let piece = log.read(next..end, PIECE).map_err(unreadable)?;
        let Some(last) = piece.last() else { return Err(unreadable(io::Error::other("the log has a hole"))) };
        next = last.id.index + 1;
        for entry in piece {
            apply(machine, entry).map_err(unreadable)?;
        }
    }
    Ok(())
}

fn apply(machine: &mut StateMachine, entry: LogEntry) -> io::Result<()> {
    let LogId { index, term } = entry.id;
    match entry.payload {
        Some(Payload::Command(bytes)) => {
            let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, format!("log index {index}: {error}"));
            let entry = Entry::decode(bytes).map_err(invalid)?;
            // What it comes to was told to its proposer, if to anybody.
            let _ = machine.apply(EntryMeta { index, term, time_ms: entry.stamp.time_ms }, &entry.command);
        }
        Some(Payload::Blank(_) | Payload::Membership(_)) | None => machine.advance(index, term),
    }
    Ok(())
}

/// Why a state could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteStateError {
    /// The directory.
    #[error("the state of the new life cannot be written")]
    Io(#[from] io::Error),
    /// The file that says whose it is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The snapshots.
    #[error(transparent)]
    Snapshot(#[from] SnapshotOpenError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogOpenError),
}

/// Makes the directory `raft` in `data_dir`, which must not have one: a snapshot of the state, and a log that begins behind it, with
/// `node` as the only voter at `address` (`host:port`). The incarnation is that of the state.
///
/// # Errors
/// See [`WriteStateError`]; what was written until then is worthless.
pub fn write_state(
    data_dir: &Path,
    machine: &StateMachine,
    node: NodeId,
    address: &str,
) -> Result<(), WriteStateError> {
    let directory = data_dir.join("raft");
    let view = machine.view();
    let incarnation = view.incarnation();
    create_directory(&directory, 0o700)?;
    open_identity(&directory, node, Incarnation::Of(incarnation))?;
    let last = LogId { term: view.term(), index: view.index() };
    let meta = SnapshotMeta {
        last: Some(last),
        membership_id: Some(last),
        membership: Some(Membership {
            voter_sets: vec![VoterSet { node_ids: vec![node.0] }],
            members: vec![Member { node_id: node.0, address: address.to_owned() }],
        }),
    };
    SnapshotStore::new(SnapshotStore::directory(directory.join("snapshots"))?, incarnation).write(&view, &meta)?;
    let log = FileLog::open(FileLogOptions::new(directory.join("log"), incarnation))?;
    // Terms go on from the state's: without the vote raft would begin again at the first.
    let vote = Vote { term: last.term, node_id: node.0, committed: false };
    let written = [LogWrite::Vote(vote), LogWrite::Purge(last), LogWrite::Committed(Some(last))]
        .into_iter()
        .try_for_each(|write| submit(&log, write));
    log.close();
    Ok(written?)
}

/// Waits until the write is on disk.
fn submit(log: &FileLog, write: LogWrite) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel();
    let done = move |result| {
        // Nobody waits any more when this thread has ended.
        let _ = sender.send(result);
    };
    log.submit(write, Box::new(done));
    receiver.recv().map_err(|_| io::Error::other("the log ended in the middle of a write"))?
}
