//! The identity file as the first version wrote it. It must open for ever, and today's code must write the same bytes.
//! `JACO_BLESS=1 cargo test` writes the fixture anew; doing so breaks reading what is out there, unless the format version grew.

use super::*;

const IDENTITY: StoredIdentity = StoredIdentity { node_id: 7, incarnation: 0x0123_4567_89ab_cdef };

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/identity-v1.bin")
}

#[test]
fn an_identity_of_the_first_version_opens_and_is_written_with_the_same_bytes() {
    if std::env::var_os("JACO_BLESS").is_some() {
        fs::write(fixture(), encode(&IDENTITY)).unwrap();
    }
    let content = fs::read(fixture()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("identity"), &content).unwrap();
    assert_eq!(open_identity(directory.path(), NodeId(7), Incarnation::Fresh(99)).unwrap(), IDENTITY.incarnation);
    assert_eq!(fs::read(directory.path().join("identity")).unwrap(), content, "opening changes nothing");
    assert_eq!(encode(&IDENTITY), content);
    let error = open_identity(directory.path(), NodeId(8), Incarnation::Fresh(99)).unwrap_err();
    assert!(matches!(error, IdentityError::OtherNode { found: NodeId(7), expected: NodeId(8), .. }), "{error}");
    assert!(open_identity(directory.path(), NodeId(7), Incarnation::Of(IDENTITY.incarnation)).is_ok());
    let error = open_identity(directory.path(), NodeId(7), Incarnation::Of(99)).unwrap_err();
    assert!(matches!(error, IdentityError::OtherIncarnation { expected: 99, .. }), "{error}");
}

#[test]
fn a_changed_byte_anywhere_is_damage() {
    let content = fs::read(fixture()).unwrap();
    for at in 0..content.len() {
        let mut damaged = content.clone();
        damaged[at] ^= 0x10;
        assert!(decode(&damaged).is_none(), "byte {at}");
    }
    assert!((0..content.len()).all(|length| decode(&content[..length]).is_none()));
}
