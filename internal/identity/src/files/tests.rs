use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use jaco_types::{Hostname, NodeId};

use super::{FileError, JoinRecord, NodeDirectory};
use crate::authority::Authority;
use crate::certificate::Certificate;
use crate::fixture::{self, START_MS};
use crate::key::PrivateKey;
use crate::request::CertificateRequest;

struct Rig {
    data: tempfile::TempDir,
    authority: Authority,
    directory: NodeDirectory,
}

impl Rig {
    fn new() -> Rig {
        let data = tempfile::tempdir().unwrap();
        let directory = NodeDirectory::open(data.path()).unwrap();
        Rig { data, authority: fixture::authority(), directory }
    }

    fn sign(&self, key: &PrivateKey) -> Certificate {
        let request = CertificateRequest::new(key, &fixture::names()).unwrap();
        self.authority.sign_node(&request, &fixture::grant(1, 30), START_MS).unwrap()
    }

    fn enrol(&self) -> Certificate {
        let certificate = self.sign(&self.directory.pending_key().unwrap());
        self.directory.install(&certificate, self.authority.certificate()).unwrap();
        certificate
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.directory.path().join(name)).unwrap().permissions().mode() & 0o7777
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn join_record() -> JoinRecord {
    JoinRecord {
        cluster_id: fixture::CLUSTER.to_owned(),
        node_id: NodeId(0xab),
        hostname: Hostname::new("alpha").unwrap(),
        incarnation: 7,
        ca_fingerprint: "ab".repeat(32),
        peers: vec!["10.1.2.3:7000".to_owned()],
    }
}

#[test]
fn files_have_their_modes() {
    let rig = Rig::new();
    rig.enrol();
    rig.directory.write_join(&join_record()).unwrap();
    rig.directory.seal_key().unwrap();
    rig.directory.pending_key().unwrap();
    assert_eq!(rig.names(), ["ca.crt", "join.json", "node.crt", "node.key", "node.next.key", "seal.key"]);
    assert_eq!(rig.mode("."), 0o710);
    for secret in ["node.key", "node.next.key", "seal.key", "join.json"] {
        assert_eq!(rig.mode(secret), 0o600, "{secret}");
    }
    for readable in ["ca.crt", "node.crt"] {
        assert_eq!(rig.mode(readable), 0o640, "{readable}");
    }
}

#[test]
fn what_root_writes_belongs_to_the_owner_of_the_data_directory() {
    let data = tempfile::tempdir().unwrap();
    if let Err(error) = std::os::unix::fs::chown(data.path(), Some(1234), Some(1235)) {
        println!("skipped what_root_writes_belongs_to_the_owner_of_the_data_directory: not root ({error})");
        return;
    }
    let directory = NodeDirectory::open(data.path()).unwrap();
    directory.pending_key().unwrap();
    for path in [directory.path().to_owned(), directory.path().join("node.next.key")] {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 1235), "{}", path.display());
    }
}

#[test]
fn a_member_of_the_group_reads_what_is_public_and_nothing_else() {
    use std::os::unix::process::CommandExt;
    let rig = Rig::new();
    rig.enrol();
    rig.directory.seal_key().unwrap();
    let (owner, group) = (1234, 1235);
    let entries: Vec<_> = fs::read_dir(rig.directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    for path in entries.iter().chain([&rig.data.path().to_owned(), &rig.directory.path().to_owned()]) {
        if let Err(error) = std::os::unix::fs::chown(path, Some(owner), Some(group)) {
            println!("skipped a_member_of_the_group_reads_what_is_public_and_nothing_else: not root ({error})");
            return;
        }
    }
    fs::set_permissions(rig.data.path(), fs::Permissions::from_mode(0o750)).unwrap();
    let may = |program: &str, name: &str, group: u32| {
        let path = rig.directory.path().join(name);
        std::process::Command::new(program).arg(path).uid(4321).gid(group).output().unwrap().status.success()
    };
    assert!(may("cat", "ca.crt", group) && may("cat", "node.crt", group));
    assert!(!may("cat", "node.key", group) && !may("cat", "seal.key", group));
    assert!(!may("ls", ".", group), "it may pass through, not look around");
    assert!(!may("cat", "ca.crt", group + 1));
}

#[test]
fn a_left_over_with_wide_modes_does_not_widen_a_key() {
    let rig = Rig::new();
    let left_over = rig.directory.path().join("node.next.key.tmp");
    fs::write(&left_over, "half a k").unwrap();
    fs::set_permissions(&left_over, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(rig.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    rig.directory.pending_key().unwrap();
    assert_eq!(rig.mode("node.next.key"), 0o600);
    assert_eq!(rig.names(), ["node.next.key"]);
    NodeDirectory::open(rig.data.path()).unwrap();
    assert_eq!(rig.mode("."), 0o710);
}

#[test]
fn a_node_without_a_certificate_is_none_and_keeps_its_pending_key() {
    let rig = Rig::new();
    assert!(rig.directory.load().unwrap().is_none());
    let first = rig.directory.pending_key().unwrap();
    let again = NodeDirectory::open(rig.data.path()).unwrap().pending_key().unwrap();
    assert_eq!(first.public_key(), again.public_key(), "a lost answer is asked for again with the same key");
    assert!(rig.directory.load().unwrap().is_none());
}

#[test]
fn what_is_installed_comes_back() {
    let rig = Rig::new();
    let certificate = rig.enrol();
    let installed = rig.directory.load().unwrap().unwrap();
    assert_eq!(installed.certificate, certificate);
    assert_eq!(installed.authority, *rig.authority.certificate());
    assert_eq!(installed.key.public_key(), certificate.facts().public_key);
    assert_eq!(rig.names(), ["ca.crt", "node.crt", "node.key"]);
}

/// A renewal cut off after each of its steps: always one certificate with its key.
#[test]
fn a_renewal_may_be_cut_off_anywhere() {
    let rig = Rig::new();
    let old = rig.enrol();
    let loaded = || rig.directory.load().unwrap().unwrap().certificate;
    let key = rig.directory.pending_key().unwrap();
    assert_eq!(loaded(), old, "after the new key was made");
    let new = rig.sign(&key);
    fs::write(rig.directory.path().join("node.crt"), new.to_pem()).unwrap();
    assert_eq!(loaded(), new, "after the certificate was written and before the key was moved");
    assert_eq!(rig.names(), ["ca.crt", "node.crt", "node.key"], "reading finished the installation");
    let same_key = rig.sign(&rig.directory.load().unwrap().unwrap().key);
    rig.directory.install(&same_key, rig.authority.certificate()).unwrap();
    assert_eq!(loaded(), same_key);
}

#[test]
fn a_certificate_of_another_key_is_not_installed() {
    let rig = Rig::new();
    let old = rig.enrol();
    let foreign = rig.sign(&PrivateKey::generate().unwrap());
    let refused = rig.directory.install(&foreign, rig.authority.certificate());
    assert!(matches!(refused, Err(FileError::KeyMissing { .. })));
    assert_eq!(rig.directory.load().unwrap().unwrap().certificate, old);
    fs::remove_file(rig.directory.path().join("node.key")).unwrap();
    assert!(matches!(rig.directory.load(), Err(FileError::KeyMissing { .. })));
}

#[test]
fn a_damaged_file_is_named_and_not_shown() {
    let rig = Rig::new();
    rig.enrol();
    rig.directory.seal_key().unwrap();
    let damage = |name: &str, content: &[u8]| fs::write(rig.directory.path().join(name), content).unwrap();
    let named = |error: FileError, name: &str| {
        let text = format!("{error} {error:?}");
        assert!(text.contains(name) && !text.contains("hunter2"), "{text}");
    };
    damage("seal.key", b"jaco-seal-key 1\nhunter2\n");
    named(rig.directory.seal_key().unwrap_err(), "seal.key");
    damage("seal.key", b"jaco-seal-key 2\n");
    named(rig.directory.seal_key().unwrap_err(), "seal.key");
    damage("node.key", b"hunter2");
    named(rig.directory.load().unwrap_err(), "node.key");
    damage("node.crt", &[0xff; 9]);
    named(rig.directory.load().unwrap_err(), "node.crt");
    damage("node.crt", rig.authority.certificate().to_pem().as_bytes());
    named(rig.directory.load().unwrap_err(), "node.crt");
    damage("join.json", b"{\"format\": 2}");
    named(rig.directory.read_join().unwrap_err(), "format 2");
    damage("join.json", b"hunter2");
    named(rig.directory.read_join().unwrap_err(), "join.json");
}

#[test]
fn the_sealing_key_stays_the_same() {
    let rig = Rig::new();
    let first = rig.directory.seal_key().unwrap().public();
    assert_eq!(NodeDirectory::open(rig.data.path()).unwrap().seal_key().unwrap().public(), first);
}

#[test]
fn clearing_removes_everything_and_a_new_join_finds_new_keys() {
    let rig = Rig::new();
    rig.enrol();
    rig.directory.write_join(&join_record()).unwrap();
    let (key, seal) = (rig.directory.pending_key().unwrap(), rig.directory.seal_key().unwrap());
    rig.directory.clear().unwrap();
    rig.directory.clear().unwrap();
    assert_eq!(rig.names(), Vec::<String>::new());
    assert!(rig.directory.load().unwrap().is_none() && rig.directory.read_join().unwrap().is_none());
    assert_ne!(rig.directory.pending_key().unwrap().public_key(), key.public_key());
    assert_ne!(rig.directory.seal_key().unwrap().public(), seal.public());
}

/// The stored forms of `join.json` and `seal.key`.
#[test]
fn golden_files() {
    let rig = Rig::new();
    rig.directory.write_join(&join_record()).unwrap();
    let stored = fs::read_to_string(rig.directory.path().join("join.json")).unwrap();
    assert_eq!(stored, include_str!("../../tests/golden/join-v1.json"));
    assert_eq!(rig.directory.read_join().unwrap(), Some(join_record()));
    let seal = include_str!("../../tests/golden/seal-key-v1.txt");
    fs::write(rig.directory.path().join("seal.key"), seal).unwrap();
    let key = rig.directory.seal_key().unwrap();
    assert_eq!(key.to_file_text().as_str(), seal);
}
