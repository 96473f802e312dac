use std::time::Duration;

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{AUTHORITY_VALIDITY, Authority, AuthorityError, MAX_VALIDITY, SignError};
use crate::fixture::{self, CLUSTER, DAY_MS, INCARNATION, START_MS};
use crate::key::PrivateKey;
use crate::request::{CertificateRequest, RequestError, RequestNames};
use crate::subject::Subject;

#[test]
fn an_authority_comes_back_from_its_pem_and_signs() {
    let made = fixture::authority();
    let read = Authority::from_pem(&made.certificate().to_pem(), &made.key_pem()).unwrap();
    assert_eq!((read.fingerprint(), read.cluster_id()), (made.fingerprint(), CLUSTER));
    fixture::node(&read, 1, 30);
    let facts = made.certificate().facts();
    let life = Duration::from_millis(facts.not_after_ms - START_MS);
    assert_eq!((life, life.as_secs() / (365 * 24 * 60 * 60)), (AUTHORITY_VALIDITY, 20));
    assert_eq!(facts.not_before_ms, START_MS - 60 * 60 * 1000);
}

#[test]
fn a_certificate_and_a_key_of_two_authorities_are_refused() {
    let (one, other) = (fixture::authority(), fixture::authority());
    let mixed = Authority::from_pem(&one.certificate().to_pem(), &other.key_pem());
    assert!(matches!(mixed, Err(AuthorityError::Mismatch)));
    let (node, key) = fixture::node(&one, 1, 30);
    assert!(matches!(Authority::from_pem(&node.to_pem(), &key.to_pem()), Err(AuthorityError::Mismatch)));
}

#[test]
fn what_cannot_stand_in_a_certificate_makes_no_authority() {
    for wrong in ["", "a/b", "a b", &"a".repeat(65)] {
        assert!(matches!(Authority::generate(wrong, START_MS), Err(AuthorityError::ClusterId { .. })), "{wrong}");
    }
    assert!(matches!(Authority::generate(CLUSTER, u64::MAX), Err(AuthorityError::Clock { .. })));
    Authority::generate(CLUSTER, 0).unwrap();
}

#[test]
fn a_node_certificate_says_what_was_granted() {
    let authority = fixture::authority();
    let (certificate, key) = fixture::node(&authority, 0xab, 365);
    let facts = certificate.facts();
    let subject =
        Subject::Node { cluster_id: CLUSTER.to_owned(), node_id: jaco_types::NodeId(0xab), incarnation: INCARNATION };
    assert_eq!((&facts.subject, facts.public_key), (&subject, key.public_key()));
    assert_eq!(facts.serial.len(), 32);
    assert_ne!(facts.serial, fixture::node(&authority, 0xab, 365).0.facts().serial);
    let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
    let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert!(names.contains(&GeneralName::DNSName("alpha")) && names.contains(&GeneralName::IPAddress(&[10, 1, 2, 3])));
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth && !usage.any);
    let key_usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(key_usage.digital_signature() && !key_usage.key_cert_sign());
    assert!(!parsed.is_ca());
}

#[test]
fn an_operator_certificate_is_for_clients_only() {
    let (certificate, _) = fixture::operator(&fixture::authority(), "ci");
    let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    assert_eq!(certificate.facts().subject.to_string(), format!("jaco://{CLUSTER}/operator/ci?role=deployer"));
}

#[test]
fn lives_are_bounded() {
    let authority = fixture::authority();
    let request = CertificateRequest::new(&PrivateKey::generate().unwrap(), &fixture::names()).unwrap();
    let mut grant = fixture::grant(1, 365);
    assert_eq!(grant.validity, MAX_VALIDITY);
    authority.sign_node(&request, &grant, START_MS).unwrap();
    for wrong in [Duration::ZERO, MAX_VALIDITY + Duration::from_secs(1), Duration::MAX] {
        grant.validity = wrong;
        assert!(matches!(authority.sign_node(&request, &grant, START_MS), Err(SignError::Validity { .. })));
    }
    grant.validity = MAX_VALIDITY;
    let end = authority.certificate().facts().not_after_ms;
    let late = authority.sign_node(&request, &grant, end - DAY_MS).unwrap();
    assert_eq!(late.facts().not_after_ms, end, "no certificate outlives its authority");
    for wrong in [0, end, u64::MAX] {
        assert!(matches!(authority.sign_node(&request, &grant, wrong), Err(SignError::AuthorityNotValid)));
    }
    grant.addresses = vec![fixture::address(); 65];
    assert!(matches!(authority.sign_node(&request, &grant, START_MS), Err(SignError::Addresses { found: 65 })));
}

#[test]
fn a_request_of_somebody_else_is_not_signed() {
    let other = RequestNames { hostname: Some(jaco_types::Hostname::new("beta").unwrap()), addresses: Vec::new() };
    let request = CertificateRequest::new(&PrivateKey::generate().unwrap(), &other).unwrap();
    let signed = fixture::authority().sign_node(&request, &fixture::grant(1, 30), START_MS);
    assert!(matches!(signed, Err(SignError::Request(RequestError::OtherName { .. }))), "{signed:?}");
}

#[test]
fn debug_shows_no_key() {
    let authority = fixture::authority();
    let pem = authority.key_pem();
    let shown = format!("{authority:?}");
    assert!(pem.lines().filter(|line| !line.starts_with("---")).all(|line| !shown.contains(line)));
    assert!(!shown.to_lowercase().contains("private"), "{shown}");
}
