//! On real data directories: a cluster as init leaves it, its backup, and nodes that are restored or recovered from it.

use std::os::unix::fs::PermissionsExt;

use jaco_controlplane::{BackupOrigin, ControlPlane, Options, first_data_key, write_backup};
use jaco_identity::{Authority, SealSecretKey};
use jaco_scheduler::intent::{self, Founding};
use jaco_state::{Store, Transaction, View};
use jaco_types::{ClusterMeta, JoinToken, RecoveryRecipient, Tombstone};

use super::*;
use crate::config::{Interface, Surroundings};
use crate::recover::{self, RecoverArguments};
use crate::trust::Trust;

fn config(data_dir: &Path, hostname: &str) -> Config {
    let surroundings = Surroundings {
        system_hostname: hostname.to_owned(),
        interfaces: vec![Interface { name: "eth0".into(), address: [192, 168, 1, 5].into() }],
        log_override: None,
    };
    Config::parse(&format!("data_dir: {}\n", data_dir.display()), &surroundings).unwrap()
}

fn meta() -> ClusterMeta {
    ClusterMeta {
        cluster_id: "5f0c1c9e-2f4d-4c53-9d0a-3f6a3c5b8e11".to_owned(),
        name: "prod".to_owned(),
        incarnation: 0,
        feature_level: 1,
        created_at_ms: 1,
        ipam_pool: "10.244.0.0/16".parse().unwrap(),
        mesh_cidr: "10.245.0.0/16".parse().unwrap(),
        node_down_after_ms: 10_000,
    }
}

struct Cluster {
    folder: tempfile::TempDir,
    config: Config,
    id: NodeId,
    recovery: RecoveryKey,
    view: View,
    authority: String,
}

impl Cluster {
    /// A cluster of this node and one that joined it, stopped.
    async fn stopped() -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "node-a");
        let id = node_id::load_or_create(folder.path(), 0xa).unwrap();
        let now_ms = SystemClock::new().now_ms();
        let store = ControlPlane::open(Options::new(folder.path(), id)).await.unwrap();
        let meta = ClusterMeta { incarnation: store.incarnation(), ..meta() };
        let directory = NodeDirectory::open(folder.path()).unwrap();
        let (seal, key) = (directory.seal_key().unwrap(), directory.pending_key().unwrap());
        let authority = Authority::generate(&meta.cluster_id, now_ms).unwrap();
        let recovery = RecoveryKey::generate().unwrap();
        let node = Node {
            public_keys: vec![key.public_key().to_string()],
            seal_key: seal.public().to_string(),
            ..own_record(&config, id, now_ms)
        };
        let csr = CertificateRequest::new(&key, &RequestNames::default()).unwrap();
        let certificate = sign_node(&authority, &csr, &node, meta.incarnation, now_ms).unwrap();
        directory.install(&certificate, authority.certificate()).unwrap();
        let record = JoinRecord {
            cluster_id: meta.cluster_id.clone(),
            node_id: id,
            hostname: node.hostname.clone(),
            incarnation: meta.incarnation,
            ca_fingerprint: authority.fingerprint().to_string(),
            peers: Vec::new(),
        };
        directory.write_join(&record).unwrap();
        let (data_key, authority_key) =
            first_data_key(&meta, &authority, id, &seal.public(), &recovery.public()).unwrap();
        let mut first = Transaction::new("local");
        let founding = Founding {
            authority: authority.certificate().to_pem(),
            authority_key,
            data_key,
            recovery: RecoveryRecipient { public_key: recovery.public().to_string() },
            operator: None,
        };
        intent::found(&mut first, founding, now_ms);
        first.put(node);
        store.initialise(meta, first).await.unwrap();
        let other = SealSecretKey::generate().unwrap();
        let mut join = Transaction::new("system");
        let other_id = NodeId(0xb);
        for record in Sealing::new(id, seal).copies_for(&store.view(), other_id, &other.public()).unwrap() {
            join.put(record);
        }
        let hostname = Hostname::new("node-b").unwrap();
        join.put(Node { hostname, seal_key: other.public().to_string(), ..own_record(&config, other_id, now_ms) });
        join.put(JoinToken {
            hash: "ab".repeat(32),
            issued_by: "local".into(),
            issued_at_ms: now_ms,
            expires_at_ms: now_ms + 1000,
            used_by: None,
        });
        store.propose(join).await.unwrap();
        let view = store.view();
        store.shutdown().await;
        let authority = authority.key_pem().to_string();
        Cluster { folder, config, id, recovery, view, authority }
    }

    fn backup(&self) -> Vec<u8> {
        let origin = BackupOrigin { version: VERSION.into(), leader: "node-a".into(), now_ms: 1_700_000_000_000 };
        let mut bytes = Vec::new();
        write_backup(&self.view, &origin, &mut bytes).unwrap();
        bytes
    }
}

/// Somewhere to restore to, with the files that the command names.
struct Target {
    _files: tempfile::TempDir,
    data: tempfile::TempDir,
    config: Config,
    arguments: RestoreArguments,
}

fn target(backup: &[u8], recovery: &str) -> Target {
    let (files, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (input, key) = (files.path().join("backup"), files.path().join("key"));
    fs::write(&input, backup).unwrap();
    fs::write(&key, format!("{recovery}\n")).unwrap();
    let arguments =
        RestoreArguments { input, name: "fresh".into(), recovery_key_file: key, old_nodes_are_off: false, json: false };
    Target { config: config(data.path(), "node-z"), _files: files, data, arguments }
}

/// Everything in a data directory but the lock.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "lock").collect();
    names.sort();
    names
}

/// No file of a data directory has one of the cluster's secrets; the node's own keys are another matter.
fn assert_nothing_is_given_away(data_dir: &Path, cluster: &Cluster) {
    let body = cluster.authority.lines().find(|line| !line.starts_with("-----")).unwrap();
    let secrets = [body.to_owned(), cluster.recovery.reveal().to_string()];
    let mut folders = vec![data_dir.to_owned()];
    let mut searched = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert!(!secrets.iter().any(|secret| content.contains(secret)), "{}", path.display());
            searched += 1;
        }
    }
    assert!(searched > 5, "only {searched} files");
}

/// Opens it as the daemon does, and says what it holds.
async fn start(data_dir: &Path) -> (Trust, View) {
    let lock = DataDirLock::acquire(data_dir).unwrap();
    assert!(!Staging::finish(&lock).unwrap());
    let trust = Trust::load(data_dir).unwrap().unwrap();
    let id = stored_id(data_dir).unwrap().unwrap();
    assert_eq!(id, trust.record.node_id);
    let options = Options { incarnation: Some(trust.record.incarnation), ..Options::new(data_dir, id) };
    let store = ControlPlane::open(options).await.unwrap();
    store.ready().await.unwrap();
    let mut transaction = Transaction::new("test");
    transaction.audit("apply", [("deployment", "x")]);
    store.propose(transaction).await.unwrap();
    let view = store.view();
    store.shutdown().await;
    (trust, view)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_becomes_a_cluster_of_one_on_a_fresh_host() {
    let cluster = Cluster::stopped().await;
    let target = target(&cluster.backup(), &cluster.recovery.reveal());
    // A daemon was started there once.
    let id = node_id::load_or_create(target.data.path(), 0x77).unwrap();
    let store = ControlPlane::open(Options::new(target.data.path(), id)).await.unwrap();
    store.shutdown().await;
    drop(store);

    let restored = run(&target.arguments, &target.config).unwrap();
    assert_eq!((restored.hostname.as_str(), restored.configured_hostname.as_deref()), ("fresh", Some("node-z")));
    assert_eq!(restored.snapshot_index, cluster.view.index());
    assert_eq!(names(target.data.path()), ["node", "raft"]);
    for secret in ["node.key", "seal.key", "join.json"] {
        let mode = fs::metadata(target.data.path().join("node").join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let (trust, view) = start(target.data.path()).await;
    assert_ne!(trust.record.node_id, id, "a new identity");
    assert_ne!(trust.record.incarnation, cluster.view.incarnation());
    assert_eq!(trust.record.incarnation, view.incarnation());
    let members: Vec<&Node> = view.list::<Node>().collect();
    assert_eq!(members.len(), 1);
    assert_eq!((members[0].hostname.as_str(), members[0].id), ("fresh", trust.record.node_id));
    let buried: Vec<NodeId> = view.list::<Tombstone>().map(|tombstone| tombstone.node).collect();
    assert_eq!(buried, [NodeId(0xa), NodeId(0xb)]);
    assert_eq!(view.count::<JoinToken>(), 0);
    assert_eq!(view.audit().filter(|event| event.event == "restore_completed").count(), 1);
    let sealing = Sealing::new(trust.record.node_id, trust.seal_key);
    assert_eq!(sealing.authority(&view).unwrap().key_pem().as_str(), cluster.authority);
    assert_nothing_is_given_away(target.data.path(), &cluster);
    // Again is refused: it has state now.
    let error = run(&target.arguments, &target.config).unwrap_err();
    assert_eq!(error.code, ErrorCode::RestoreNotEmpty);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_leaves_nothing() {
    let cluster = Cluster::stopped().await;
    let backup = cluster.backup();
    let key = cluster.recovery.reveal().to_string();
    for part in 0..64 {
        let target = target(&backup[..backup.len() * part / 64], &key);
        let error = run(&target.arguments, &target.config).unwrap_err();
        assert_eq!(error.code, ErrorCode::BackupIncompatible, "{part}/64: {error:?}");
        assert_eq!(fs::read_dir(target.data.path()).unwrap().count(), 0, "{part}/64");
    }
    let other = RecoveryKey::generate().unwrap().reveal().to_string();
    for (recovery, name) in [(other.as_str(), "fresh"), ("typing error", "fresh"), (key.as_str(), "no_host!")] {
        let mut target = target(&backup, recovery);
        target.arguments.name = name.to_owned();
        let error = run(&target.arguments, &target.config).unwrap_err();
        assert_eq!(error.code, ErrorCode::ValidationFailed, "{error:?}");
        assert!(!error.message.contains(&key));
        assert_eq!(fs::read_dir(target.data.path()).unwrap().count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_not_overwritten_and_a_running_daemon_is_not_disturbed() {
    let cluster = Cluster::stopped().await;
    let mut target = target(&cluster.backup(), &cluster.recovery.reveal());
    target.config = cluster.config.clone();
    let before = names(cluster.folder.path());
    assert_eq!(run(&target.arguments, &target.config).unwrap_err().code, ErrorCode::RestoreNotEmpty);
    assert_eq!(names(cluster.folder.path()), before);
    let daemon = DataDirLock::acquire(cluster.folder.path()).unwrap();
    let error = run(&target.arguments, &target.config).unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict, "{error:?}");
    let recover = RecoverArguments { yes: true, old_nodes_are_off: false, json: false };
    assert_eq!(recover::run(&recover, &cluster.config).unwrap_err().code, ErrorCode::Conflict);
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_becomes_a_cluster_of_its_own() {
    let cluster = Cluster::stopped().await;
    let unsure = RecoverArguments { yes: false, old_nodes_are_off: false, json: false };
    let error = recover::run(&unsure, &cluster.config).unwrap_err();
    assert_eq!(error.code, ErrorCode::Usage);
    assert!(error.message.contains("refused until each has joined anew"), "{}", error.message);
    assert_eq!(names(cluster.folder.path()), ["node", "raft"]);

    let sure = RecoverArguments { yes: true, ..unsure };
    let recovered = recover::run(&sure, &cluster.config).unwrap();
    assert!(recovered.to_string().contains("node-b"), "{recovered}");
    assert_eq!(names(cluster.folder.path()), ["before-recover-1", "node", "raft"]);
    let (trust, view) = start(cluster.folder.path()).await;
    assert_eq!(trust.record.node_id, cluster.id);
    assert_ne!(trust.record.incarnation, cluster.view.incarnation());
    let members: Vec<NodeId> = view.list::<Node>().map(|node| node.id).collect();
    assert_eq!(members, [cluster.id]);
    assert_eq!(view.audit().filter(|event| event.event == "cluster_recovered").count(), 1);
    let sealing = Sealing::new(cluster.id, trust.seal_key);
    assert_eq!(sealing.authority(&view).unwrap().key_pem().as_str(), cluster.authority);
    assert_nothing_is_given_away(cluster.folder.path(), &cluster);
    // The recovery key still opens what is there.
    open_with_recovery_key(&view, &cluster.recovery).unwrap();
}

#[test]
fn a_node_without_a_cluster_has_nothing_to_recover() {
    let folder = tempfile::tempdir().unwrap();
    let sure = RecoverArguments { yes: true, old_nodes_are_off: true, json: true };
    let error = recover::run(&sure, &config(folder.path(), "node-a")).unwrap_err();
    assert_eq!(error.code, ErrorCode::ClusterUninitialized);
}
