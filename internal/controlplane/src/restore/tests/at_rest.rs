//! What lies on disk gives nothing away: log, snapshots and backups are searched for every secret of a cluster.

use std::fs;
use std::path::Path;

use jaco_identity::SealSecretKey;
use jaco_state::{Store, Transaction, View};
use jaco_types::NodeId;

use super::offline::open;
use crate::backup::{BackupOrigin, Reader, read_backup, write_backup};
use crate::founded::{Founded, NOW_MS, member};
use crate::restore::{LifeEvent, NewLife, begin_life, open_with_recovery_key};
use crate::rotation::plan_rotation;
use crate::sealing::Sealing;

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found
}

/// The authority's key in each of the forms it could leak in, and the tokens.
fn secrets(founded: &Founded) -> Vec<Vec<u8>> {
    let body: Vec<&str> = founded.authority_key.lines().filter(|line| !line.starts_with("-----")).collect();
    let first_line = body.first().unwrap().as_bytes().to_vec();
    vec![
        b"PRIVATE KEY".to_vec(),
        first_line,
        founded.token.as_bytes().to_vec(),
        founded.recovery.reveal().as_bytes().to_vec(),
    ]
}

fn uncompressed(backup: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(backup), &mut bytes).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_log_a_snapshot_or_a_backup_and_the_recovery_key_restores() {
    let folder = tempfile::tempdir().unwrap();
    let founded = Founded::new(1, "a");
    let store = open(folder.path(), founded.node.id, None).await;
    let mut first = founded.first.clone();
    first.writes.retain(|write| !matches!(write, jaco_state::Write::Put(jaco_types::Entity::ClusterMeta(_))));
    first.checks.clear();
    store.initialise(founded.view().cluster().unwrap().clone(), first).await.unwrap();
    // The log before and after, and a key that was replaced.
    let rotation: Transaction = crate::rotation::rotate(&store.view(), &founded.sealing(), "alice").unwrap();
    store.propose(rotation).await.unwrap();
    store.compact().await.unwrap();
    while let Some(step) = plan_rotation(&store.view(), &founded.sealing()).unwrap() {
        store.propose(step).await.unwrap();
    }
    let view: View = store.view();
    let mut backup = Vec::new();
    let origin = BackupOrigin { version: "0.0.1".into(), leader: "a".into(), now_ms: NOW_MS };
    write_backup(&view, &origin, &mut backup).unwrap();
    store.shutdown().await;

    let mut searched = files(folder.path());
    assert!(searched.iter().any(|(name, _)| name.contains("snapshots/")), "{:?}", searched.iter().map(|f| &f.0));
    assert!(searched.iter().any(|(_, bytes)| contains(bytes, b"bootstrap")), "the search finds what is there");
    searched.push(("backup".to_owned(), uncompressed(&backup)));
    for (name, bytes) in &searched {
        for secret in secrets(&founded) {
            assert!(!contains(bytes, &secret), "{name} has {}", String::from_utf8_lossy(&secret));
        }
    }

    let backup = read_backup(backup.as_slice(), Reader { version: "0.0.1", feature_level: 1 }).unwrap();
    let keys = open_with_recovery_key(&backup.machine.view(), &founded.recovery).unwrap();
    let seal = SealSecretKey::generate().unwrap();
    let life = NewLife {
        event: LifeEvent::Restored,
        node: member(9, "fresh", &seal),
        incarnation: 5,
        now_ms: NOW_MS,
        old_nodes_are_off: true,
    };
    let sealing = Sealing::new(NodeId(9), seal);
    let machine = begin_life(backup.machine, &life, &keys, &sealing).unwrap();
    assert_eq!(sealing.authority(&machine.view()).unwrap().key_pem().as_str(), founded.authority_key);
}
