use jaco_controlplane::{Reader, read_backup};
use jaco_proto::v1::backup_response::Part;
use jaco_state::write_snapshot;
use jaco_types::ClaimKind;

use super::*;

const READER: Reader<'static> = Reader { version: "1.2.3", feature_level: 1 };

/// The archive, and what the last message said.
async fn take(server: &Server) -> (Vec<u8>, v1::BackupDone) {
    let mut stream =
        ClusterClient::new(server.channel.clone()).backup(v1::BackupRequest {}).await.unwrap().into_inner();
    let mut archive = Vec::new();
    let mut done = None;
    while let Some(message) = stream.message().await.unwrap() {
        assert!(done.is_none(), "something follows the last message");
        match message.part.unwrap() {
            Part::Data(data) => archive.extend(data),
            Part::Done(last) => done = Some(last),
        }
    }
    (archive, done.unwrap())
}

#[tokio::test]
async fn a_backup_is_the_state_at_one_index_and_leaves_an_event() {
    let server = Server::cluster().await;
    // More than a few pieces, and nothing that compresses.
    for group in 0..8u64 {
        server.write(|transaction| {
            for number in 0..1000u64 {
                let noise = (group * 1000 + number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let key = format!("{noise:016x}{:016x}", noise.wrapping_mul(noise | 1));
                transaction.put(jaco_testkit::claim(ClaimKind::Port, &key, "shop"));
            }
        });
    }
    let before = server.store.view();
    let (archive, done) = take(&server).await;
    assert!(archive.len() > 2 * 64 * 1024, "{}", archive.len());
    assert_eq!(done.bytes, archive.len() as u64);
    assert_eq!((done.snapshot_index, done.cluster_id.as_str()), (before.index(), jaco_testkit::CLUSTER_ID));
    let backup = read_backup(archive.as_slice(), READER).unwrap();
    assert_eq!(backup.meta.leader_at_snapshot, "node-a");
    let state = |view: &View| {
        let mut bytes = Vec::new();
        write_snapshot(view, &mut bytes).unwrap();
        bytes
    };
    assert_eq!(state(&backup.machine.view()), state(&before));

    let after = server.store.view();
    let event = after.audit().find(|event| event.event == "backup_taken").unwrap();
    assert_eq!(event.identity, "local");
    assert_eq!((&event.payload["bytes"], &event.payload["sha256"]), (&done.bytes.to_string(), &done.sha256));
    server.end().await;
}

#[tokio::test]
async fn a_backup_that_cannot_be_recorded_has_no_last_message() {
    let server = Server::cluster().await;
    server.store.fail_next(jaco_state::ProposeError::QuorumLost);
    let mut stream =
        ClusterClient::new(server.channel.clone()).backup(v1::BackupRequest {}).await.unwrap().into_inner();
    let error = loop {
        match stream.message().await {
            Ok(Some(message)) => assert!(!matches!(message.part, Some(Part::Done(_)))),
            Ok(None) => panic!("it ended well"),
            Err(status) => break from_status(&status),
        }
    };
    assert_eq!(error.code, ErrorCode::QuorumLost);
    server.end().await;
}

#[tokio::test]
async fn without_a_cluster_there_is_nothing_to_back_up_or_to_seal() {
    let server = Server::start(empty_store(), Limits::default()).await;
    let mut cluster = ClusterClient::new(server.channel.clone());
    let error = from_status(&cluster.backup(v1::BackupRequest {}).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::ClusterUninitialized);
    let error = from_status(&cluster.rotate_key(v1::RotateKeyRequest::default()).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::ClusterUninitialized);
    server.end().await;
}
