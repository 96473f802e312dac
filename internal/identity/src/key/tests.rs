use super::{KeyError, PrivateKey};

#[test]
fn a_key_comes_back_from_its_pem() {
    let key = PrivateKey::generate().unwrap();
    let read = PrivateKey::from_pem(&key.to_pem()).unwrap();
    assert_eq!(read.public_key(), key.public_key());
    assert_ne!(PrivateKey::generate().unwrap().public_key(), key.public_key());
}

#[test]
fn what_is_no_key_is_refused_without_showing_it() {
    assert_eq!(PrivateKey::from_pem("secret words").unwrap_err(), KeyError::Malformed);
    let pem = super::pem("PRIVATE KEY", b"secret words");
    let error = PrivateKey::from_pem(&pem).unwrap_err();
    assert!(matches!(error, KeyError::Unusable { .. }) && !format!("{error:?}").contains("secret"), "{error:?}");
}

#[test]
fn debug_shows_the_public_half_only() {
    let key = PrivateKey::generate().unwrap();
    let shown = format!("{key:?}");
    assert!(shown.contains(&key.public_key().to_string()));
    assert!(!shown.contains(&hex::encode(&key.der[36..60])), "{shown}");
    assert!(shown.len() < 200);
}
