//! `Cluster.Backup`: the archive in pieces, made while it is sent.
//!
//! A client that reads slowly holds back only its own backup: one thread waits, and nothing is held in memory but a few pieces. A backup
//! counts as taken, and is in the audit log, before its last message says so.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use jaco_controlplane::{BackupOrigin, BackupSummary, write_backup};
use jaco_proto::{to_status, v1};
use jaco_state::{Clock, Store, SystemClock, Transaction, View};
use jaco_types::{ErrorCode, Node, UserError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::Api;

/// Size of a piece, bytes: far below the largest message.
const PIECE: usize = 64 * 1024;
/// Pieces on their way to one client.
const PIECES_IN_FLIGHT: usize = 4;

type Answer = Result<v1::BackupResponse, Status>;

/// What a client gets.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Answer> + Send>>;

impl Api {
    /// Starts the backup of one client. It holds everything that was acknowledged before the call.
    pub(crate) async fn open_backup(&self, actor: Arc<str>) -> Result<Pieces, Status> {
        let permit = self.inner.log_streams.clone().try_acquire_owned().map_err(|_| {
            let limit = self.parts().limits.log_streams;
            let text = format!("this node already serves {limit} streams; end some of them first");
            to_status(&UserError::new(ErrorCode::RequestTooLarge, text).with("limit", limit).with("unit", "streams"))
        })?;
        let view = self.current_view().await?;
        let leader = self.parts().consensus.status().leader.and_then(|id| view.get::<Node>(&id.to_string()));
        let origin = BackupOrigin {
            version: self.parts().version.to_owned(),
            leader: leader.map(|node| node.hostname.to_string()).unwrap_or_default(),
            now_ms: SystemClock::default().now_ms(),
        };
        let (answers, receiver) = mpsc::channel(PIECES_IN_FLIGHT);
        let store = self.parts().store.clone();
        let backup = Backup { store, actor, view, origin, answers, _permit: permit };
        // It ends with its receiver; the task set lives as long as the API.
        self.inner.sessions.spawn(backup.run());
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

/// One client's backup.
struct Backup {
    store: Arc<dyn Store>,
    actor: Arc<str>,
    view: View,
    origin: BackupOrigin,
    answers: mpsc::Sender<Answer>,
    _permit: OwnedSemaphorePermit,
}

impl Backup {
    async fn run(self) {
        let (view, origin) = (self.view.clone(), self.origin.clone());
        let mut sender = PieceSender { answers: self.answers.clone(), piece: Vec::new() };
        let written = tokio::task::spawn_blocking(move || write_backup(&view, &origin, &mut sender)).await;
        let failed = |reason: &dyn std::fmt::Display| UserError::internal("the backup could not be made", reason);
        let last = match written {
            Ok(Ok(summary)) => self.record(summary).await,
            Ok(Err(error)) => Err(failed(&error)),
            Err(error) => Err(failed(&error)),
        };
        // A client that went away is told nothing.
        let _ = self.answers.send(last.map_err(|error| to_status(&error))).await;
    }

    async fn record(&self, summary: BackupSummary) -> Result<v1::BackupResponse, UserError> {
        let mut transaction = Transaction::new(&*self.actor);
        transaction.audit(
            "backup_taken",
            [
                ("snapshot_index", summary.meta.snapshot_index.to_string()),
                ("bytes", summary.bytes.to_string()),
                ("sha256", summary.sha256.clone()),
            ],
        );
        self.store.propose(transaction).await.map_err(|error| error.user_error())?;
        let done = v1::BackupDone {
            bytes: summary.bytes,
            snapshot_index: summary.meta.snapshot_index,
            cluster_id: summary.meta.cluster_id,
            sha256: summary.sha256,
        };
        Ok(v1::BackupResponse { part: Some(v1::backup_response::Part::Done(done)) })
    }
}

/// Cuts the archive into messages, on a thread that may wait.
struct PieceSender {
    answers: mpsc::Sender<Answer>,
    piece: Vec<u8>,
}

impl PieceSender {
    fn send(&mut self) -> io::Result<()> {
        let data = std::mem::take(&mut self.piece);
        let answer = v1::BackupResponse { part: Some(v1::backup_response::Part::Data(data)) };
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client went away");
        self.answers.blocking_send(Ok(answer)).map_err(gone)
    }
}

impl Write for PieceSender {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let taken = buffer.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(buffer.get(..taken).unwrap_or_default());
        if self.piece.len() >= PIECE {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.send() }
    }
}
