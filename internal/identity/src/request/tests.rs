use std::net::{IpAddr, Ipv4Addr};

use jaco_types::Hostname;
use rcgen::{CertificateParams, DnType, IsCa, KeyPair, SanType};

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::{CertificateRequest, RequestError, RequestNames};
use crate::fixture;
use crate::key::PrivateKey;

/// A request of somebody who does not use our code.
fn foreign(change: impl FnOnce(&mut CertificateParams)) -> CertificateRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    change(&mut params);
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    CertificateRequest::from_der(request.der()).unwrap()
}

fn refused(request: &CertificateRequest) -> String {
    match request.check(&fixture::names()) {
        Err(RequestError::OtherName { name }) => name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_may_name_its_maker_or_nobody() {
    let key = PrivateKey::generate().unwrap();
    for names in [fixture::names(), RequestNames::default()] {
        let request = CertificateRequest::new(&key, &names).unwrap();
        assert_eq!(request.public_key(), key.public_key());
        request.check(&fixture::names()).unwrap();
        assert_eq!(CertificateRequest::from_der(request.der()).unwrap().public_key(), key.public_key());
    }
}

#[test]
fn a_request_that_names_others_is_refused() {
    let uri = "jaco://c/node/0000000000000001?incarnation=0000000000000000";
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let other = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 4));
    assert_eq!(refused(&foreign(|p| p.subject_alt_names.push(dns("beta")))), "beta");
    assert_eq!(refused(&foreign(|p| p.subject_alt_names.extend([dns("alpha"), dns("*.alpha")]))), "*.alpha");
    assert_eq!(refused(&foreign(|p| p.subject_alt_names.push(SanType::IpAddress(other)))), "10.1.2.4");
    assert_eq!(refused(&foreign(|p| p.subject_alt_names.push(SanType::URI(uri.try_into().unwrap())))), uri);
    let mail = SanType::Rfc822Name("root@alpha".try_into().unwrap());
    assert_eq!(refused(&foreign(|p| p.subject_alt_names.push(mail))), "root@alpha");
    assert_eq!(refused(&foreign(|p| p.distinguished_name.push(DnType::CommonName, "beta"))), "beta");
    assert_eq!(refused(&foreign(|p| p.distinguished_name.push(DnType::OrganizationName, "alpha"))), "alpha");
    let authority = foreign(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    let error = authority.check(&fixture::names()).unwrap_err();
    assert!(matches!(error, RequestError::Rights { .. }));
    assert_eq!(error.user_error().code.as_str(), "csr_invalid");
}

#[test]
fn an_operator_names_nobody() {
    let request = CertificateRequest::new(&PrivateKey::generate().unwrap(), &fixture::names()).unwrap();
    assert!(matches!(request.check(&RequestNames::default()), Err(RequestError::OtherName { .. })));
}

#[test]
fn a_long_host_name_fits_in_a_request() {
    let long = Hostname::new([["a"; 63].concat(), ["b"; 63].concat()].join(".")).unwrap();
    let names = RequestNames { hostname: Some(long), addresses: Vec::new() };
    let request = CertificateRequest::new(&PrivateKey::generate().unwrap(), &names).unwrap();
    request.check(&names).unwrap();
}

/// Any byte of what was signed changed: no request of another key or name passes.
#[test]
fn a_changed_request_is_not_proven() {
    let request = CertificateRequest::new(&PrivateKey::generate().unwrap(), &fixture::names()).unwrap();
    let (_, parsed) = X509CertificationRequest::from_der(request.der()).unwrap();
    let signed = parsed.certification_request_info.raw;
    let start = request.der().windows(signed.len()).position(|window| window == signed).unwrap();
    for at in start..start + signed.len() {
        let mut der = request.der().to_vec();
        der[at] ^= 1;
        match CertificateRequest::from_der(&der) {
            Err(RequestError::NotProven | RequestError::Malformed { .. }) => {}
            other => panic!("byte {at}: {other:?}"),
        }
    }
    let mut trailing = request.der().to_vec();
    trailing.push(0);
    assert!(matches!(CertificateRequest::from_der(&trailing), Err(RequestError::Malformed { .. })));
    assert!(matches!(CertificateRequest::from_der(&vec![0x30; 20_000]), Err(RequestError::Malformed { .. })));
}
