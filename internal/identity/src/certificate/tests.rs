use proptest::prelude::*;

use super::{Certificate, CertificateError, Fingerprint};
use crate::fixture::{self, DAY_MS, START_MS};
use crate::request::CertificateRequest;

#[test]
fn a_certificate_comes_back_from_its_pem() {
    let (certificate, _) = fixture::node(&fixture::authority(), 9, 30);
    let pem = certificate.to_pem();
    assert!(pem.lines().all(|line| line.len() <= 64) && pem.ends_with("-----END CERTIFICATE-----\n"), "{pem}");
    assert_eq!(Certificate::from_pem(&pem).unwrap(), certificate);
    assert_eq!(certificate.facts().not_after_ms, START_MS + 30 * DAY_MS);
    assert_eq!(certificate.facts().not_before_ms, START_MS - 60 * 60 * 1000);
    assert_eq!(certificate.facts().addresses, [fixture::address()]);
    assert!(fixture::authority().certificate().facts().addresses.is_empty());
}

#[test]
fn a_fingerprint_is_64_digits() {
    let print = fixture::authority().fingerprint();
    assert_eq!(print.to_string().parse::<Fingerprint>().unwrap(), print);
    assert_eq!(print.to_string().to_uppercase().parse::<Fingerprint>().unwrap(), print);
    assert!(print.to_string()[1..].parse::<Fingerprint>().is_err());
}

/// Certificates of others, which our own code would never make.
#[test]
fn a_certificate_that_names_nobody_of_ours_is_foreign() {
    let uri = |text: &str| rcgen::SanType::URI(text.try_into().unwrap());
    let ours = "jaco://c/authority";
    for names in [vec![], vec![uri("https://example.org/")], vec![uri(ours), uri(ours)]] {
        let mut params = rcgen::CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
        params.subject_alt_names.extend(names);
        let signed = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let read = Certificate::from_der(signed.der());
        assert!(matches!(read, Err(CertificateError::Foreign { .. })), "{read:?}");
    }
}

#[test]
fn what_follows_a_certificate_makes_it_malformed() {
    let (certificate, _) = fixture::node(&fixture::authority(), 9, 30);
    let mut der = certificate.der().to_vec();
    der.push(0);
    assert!(matches!(Certificate::from_der(&der), Err(CertificateError::Malformed { .. })));
    assert!(matches!(Certificate::from_der(&vec![0x30; 17_000]), Err(CertificateError::Malformed { .. })));
    assert!(Certificate::from_pem("").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn changed_bytes_are_read_without_panic(at in 0usize..400, to: u8, noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let authority = fixture::authority();
        let mut der = authority.certificate().der().to_vec();
        let length = der.len();
        der[at % length] = to;
        let _ = Certificate::from_der(&der);
        let _ = CertificateRequest::from_der(&der);
        let _ = Certificate::from_der(&noise);
        let _ = CertificateRequest::from_der(&noise);
        let _ = Certificate::from_pem(&String::from_utf8_lossy(&noise));
    }
}
