//! Golden files: one that is missing is written by `JACO_WRITE_GOLDEN=1 cargo test -p jaco-identity golden`; one that exists is
//! never changed, since clusters hold such bytes.

use std::path::PathBuf;

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::{
    CopyError, DataKey, DataKeyCopy, Keyring, Place, RecoveryKey, RecoveryKeyError, SealError, SealPublicKey,
    SealSecretKey, Sealed,
};

const PLACE: Place<'static> = Place { kind: "authority", key: "cluster" };
const CLUSTER: &str = "5b3c1e9e-6a53";
/// 32 bytes of 0xa5, made apart from this code.
const GOLDEN_RECOVERY: &str = "MPJTB9D-5MPJTB9-D5MPJTB-9D5MPJT-B9D5MPJ-TB9D5MP-JTB9D5M-PJR9HZM";

fn golden(name: &str, fresh: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if !path.exists() && std::env::var_os("JACO_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, fresh).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn fixed_key(epoch: u64) -> DataKey {
    DataKey::from_parts(epoch, Zeroizing::new([7; 32]))
}

fn fixed_secret(byte: u8) -> SealSecretKey {
    SealSecretKey::from_bytes(Zeroizing::new([byte; 32]))
}

#[test]
fn golden_sealed_value() {
    let fresh = fixed_key(3).seal_with([9; 24], PLACE, b"the value").unwrap();
    let stored = golden("sealed-v1.bin", &fresh.to_bytes());
    assert_eq!(stored, fresh.to_bytes());
    let read = Sealed::from_bytes(&stored).unwrap();
    assert_eq!(fixed_key(3).open(PLACE, &read).unwrap().as_slice(), b"the value");
    assert_eq!(Sealed::from_record(&read.to_record()).unwrap(), read);
}

#[test]
fn golden_copy_of_a_data_key() {
    let recipient = fixed_secret(4);
    let fresh = DataKeyCopy::seal_with(&fixed_secret(5), &fixed_key(3), &recipient.public(), CLUSTER).unwrap();
    let stored = golden("data-key-copy-v1.bin", &fresh.to_bytes());
    assert_eq!(stored, fresh.to_bytes());
    let opened = DataKeyCopy::from_bytes(&stored).unwrap().open(&recipient, CLUSTER).unwrap();
    assert_eq!((opened.epoch(), opened.bytes()), (3, fixed_key(3).bytes()));
    assert_eq!(DataKeyCopy::from_text(&fresh.to_text()).unwrap(), fresh);
}

#[test]
fn golden_recovery_key() {
    let key = RecoveryKey::parse(GOLDEN_RECOVERY).unwrap();
    assert_eq!(key.secret().bytes(), &[0xa5; 32]);
    assert_eq!(key.reveal().as_str(), GOLDEN_RECOVERY);
}

#[test]
fn a_sealed_value_opens_in_its_place_only() {
    let key = DataKey::generate(1).unwrap();
    let sealed = key.seal(PLACE, b"value").unwrap();
    assert_ne!(sealed, key.seal(PLACE, b"value").unwrap(), "every sealing has its own nonce");
    assert_eq!(key.open(PLACE, &sealed).unwrap().as_slice(), b"value");
    for wrong in [
        Place { kind: "authority", key: "other" },
        Place { kind: "secret", key: "cluster" },
        Place { kind: "authorityc", key: "luster" },
        Place { kind: "", key: "authoritycluster" },
    ] {
        assert!(matches!(key.open(wrong, &sealed), Err(SealError::Refused)), "{wrong:?}");
    }
    let other = DataKey::generate(1).unwrap();
    assert!(matches!(other.open(PLACE, &sealed), Err(SealError::Refused)));
    let next = DataKey::generate(2).unwrap();
    assert!(matches!(next.open(PLACE, &sealed), Err(SealError::UnknownEpoch { epoch: 1 })));
    assert_eq!(key.open(PLACE, &key.seal(PLACE, b"").unwrap()).unwrap().len(), 0);
}

#[test]
fn any_changed_byte_keeps_a_value_and_a_copy_shut() {
    let (key, member) = (fixed_key(1), fixed_secret(4));
    let sealed = key.seal(PLACE, b"value").unwrap().to_bytes();
    for at in 0..sealed.len() {
        let mut bytes = sealed.clone();
        bytes[at] ^= 1;
        let opened = Sealed::from_bytes(&bytes).and_then(|sealed| key.open(PLACE, &sealed));
        assert!(opened.is_err(), "byte {at}");
    }
    let copy = DataKeyCopy::seal(&key, &member.public(), CLUSTER).unwrap().to_bytes();
    for at in 0..copy.len() {
        let mut bytes = copy.clone();
        bytes[at] ^= 1;
        let opened = DataKeyCopy::from_bytes(&bytes).and_then(|copy| copy.open(&member, CLUSTER));
        // X25519 ignores the highest bit of a public key, yet it is part of the derivation.
        assert!(opened.is_err(), "byte {at}");
    }
    for cut in 0..sealed.len() {
        assert!(Sealed::from_bytes(&sealed[..cut]).and_then(|sealed| key.open(PLACE, &sealed)).is_err());
    }
    for cut in 0..copy.len() {
        assert!(DataKeyCopy::from_bytes(&copy[..cut]).is_err());
    }
}

#[test]
fn a_copy_opens_for_its_recipient_in_its_cluster_only() {
    let (member, other) = (SealSecretKey::generate().unwrap(), SealSecretKey::generate().unwrap());
    let key = DataKey::generate(5).unwrap();
    let copy = DataKeyCopy::seal(&key, &member.public(), CLUSTER).unwrap();
    let opened = copy.open(&member, CLUSTER).unwrap();
    assert_eq!((opened.epoch(), opened.bytes()), (5, key.bytes()));
    assert!(matches!(copy.open(&other, CLUSTER), Err(CopyError::Refused)));
    assert!(matches!(copy.open(&member, "another"), Err(CopyError::Refused)));
    let zero = SealPublicKey::from_bytes([0; 32]);
    assert!(matches!(DataKeyCopy::seal(&key, &zero, CLUSTER), Err(CopyError::WeakKey)));
}

#[test]
fn formats_of_the_future_are_named() {
    let mut sealed = fixed_key(1).seal(PLACE, b"value").unwrap().to_bytes();
    sealed[3] = 2;
    assert!(matches!(Sealed::from_bytes(&sealed), Err(SealError::Format { found: 2 })));
    let mut copy = DataKeyCopy::seal(&fixed_key(1), &fixed_secret(4).public(), CLUSTER).unwrap().to_bytes();
    copy[3] = 9;
    assert!(matches!(DataKeyCopy::from_bytes(&copy), Err(CopyError::Format { found: 9 })));
    let mut record = fixed_key(1).seal(PLACE, b"value").unwrap().to_record();
    record.epoch = 2;
    assert!(matches!(Sealed::from_record(&record), Err(SealError::Malformed)));
}

#[test]
fn a_rotation_seals_with_the_new_key_and_opens_with_both() {
    let mut ring = Keyring::new();
    assert!(matches!(ring.seal(PLACE, b"value"), Err(SealError::NoKey)));
    ring.insert(DataKey::generate(1).unwrap());
    let old = ring.seal(PLACE, b"old").unwrap();
    assert!(!ring.is_stale(&old));
    ring.insert(DataKey::generate(2).unwrap());
    let new = ring.seal(PLACE, b"new").unwrap();
    assert_eq!((old.key_epoch(), new.key_epoch(), ring.newest_epoch()), (1, 2, Some(2)));
    assert!(ring.is_stale(&old) && !ring.is_stale(&new));
    assert_eq!(ring.open(PLACE, &old).unwrap().as_slice(), b"old");
    assert_eq!(ring.open(PLACE, &new).unwrap().as_slice(), b"new");
    ring.forget_before(2);
    assert!(matches!(ring.open(PLACE, &old), Err(SealError::UnknownEpoch { epoch: 1 })));
    assert_eq!(ring.iter().map(DataKey::epoch).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_recovery_key_opens_its_copies_as_it_was_written_down() {
    let key = RecoveryKey::generate().unwrap();
    let text = key.reveal();
    assert_eq!((text.len(), text.split('-').count()), (63, 8));
    let copy = DataKeyCopy::seal(&fixed_key(1), &key.public(), CLUSTER).unwrap();
    let sloppy = text.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
    for written in [text.as_str(), &sloppy, &text.replace('-', ""), &format!("\n {} \t", text.replace('-', " - "))] {
        copy.open(RecoveryKey::parse(written).unwrap().secret(), CLUSTER).unwrap();
    }
}

#[test]
fn typing_errors_in_a_recovery_key_are_found() {
    let text = RecoveryKey::parse(GOLDEN_RECOVERY).unwrap().reveal();
    let characters: Vec<char> = text.chars().filter(|c| *c != '-').collect();
    let parse = |characters: &[char]| RecoveryKey::parse(&characters.iter().collect::<String>()).map(|_| ());
    for at in 0..characters.len() {
        for other in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars().filter(|c| *c != characters[at]) {
            let mut wrong = characters.clone();
            wrong[at] = other;
            assert_eq!(parse(&wrong), Err(RecoveryKeyError::Checksum), "{at} {other}");
        }
        let mut wrong = characters.clone();
        wrong[at] = 'U';
        assert_eq!(parse(&wrong), Err(RecoveryKeyError::Character { position: at + 1 }));
        wrong.remove(at);
        assert_eq!(parse(&wrong), Err(RecoveryKeyError::Length { found: 55 }));
        wrong.insert(at, characters[at]);
        wrong.push('0');
        assert_eq!(parse(&wrong), Err(RecoveryKeyError::Length { found: 57 }));
    }
    for at in 1..characters.len() {
        let mut wrong = characters.clone();
        wrong.swap(at - 1, at);
        assert_eq!(parse(&wrong).is_ok(), wrong == characters, "swapped at {at}");
    }
}

#[test]
fn nothing_shows_a_key() {
    let recovery = RecoveryKey::parse(GOLDEN_RECOVERY).unwrap();
    let mut ring = Keyring::new();
    ring.insert(fixed_key(1));
    let error = RecoveryKey::parse(&GOLDEN_RECOVERY.replace('5', "6")).unwrap_err();
    let shown = format!("{recovery:?} {:?} {ring:?} {error} {error:?}", recovery.secret());
    assert!(
        !shown.contains("a5a5") && !shown.contains("0707") && !shown.contains("7, 7") && !shown.contains("MPJ"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn any_bytes_and_text_are_read_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        magic in prop::sample::select(vec![b"JSV\x01".to_vec(), b"JDK\x01".to_vec(), Vec::new()]),
        text in "\\PC{0,80}",
        letters in "[0-9A-Za-z -]{50,64}",
    ) {
        let bytes = [magic, bytes].concat();
        if let Ok(sealed) = Sealed::from_bytes(&bytes) {
            prop_assert_eq!(sealed.to_bytes(), bytes.clone());
            prop_assert!(fixed_key(1).open(PLACE, &sealed).is_err());
        }
        if let Ok(copy) = DataKeyCopy::from_bytes(&bytes) {
            prop_assert_eq!(copy.to_bytes(), bytes);
        }
        let _ = (RecoveryKey::parse(&text), RecoveryKey::parse(&letters), SealSecretKey::from_file_text(&text));
        let _ = (DataKeyCopy::from_text(&text), text.parse::<SealPublicKey>());
    }

    #[test]
    fn a_recovery_key_comes_back(bytes: [u8; 32]) {
        let key = RecoveryKey::from_secret(SealSecretKey::from_bytes(Zeroizing::new(bytes)));
        let read = RecoveryKey::parse(&key.reveal()).unwrap();
        prop_assert_eq!(read.secret().bytes(), &bytes);
    }
}
