//! The cluster's certificate authority: one root, one level, made at init.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use jaco_types::{Hostname, NodeId, OperatorName, Role};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use zeroize::Zeroizing;

use crate::certificate::{Certificate, CertificateError};
use crate::hash::Fingerprint;
use crate::key::{KeyError, PrivateKey};
use crate::random::{self, RandomError};
use crate::request::{CertificateRequest, RequestError, RequestNames, alternative_names, common_name};
use crate::subject::{Subject, is_cluster_id};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Life of the authority: 20 years.
pub const AUTHORITY_VALIDITY: Duration = Duration::from_secs(20 * 365 * DAY.as_secs() + 5 * DAY.as_secs());

/// Longest life of a node's or an operator's certificate: one year.
pub const MAX_VALIDITY: Duration = Duration::from_secs(365 * DAY.as_secs());

/// How far before "now" every certificate begins, so that a clock that is somewhat behind accepts it.
pub const BACK_DATING: Duration = Duration::from_secs(60 * 60);

/// Addresses in one node's certificate.
const MAX_ADDRESSES: usize = 64;

/// The year 2500: beyond it a clock is wrong, and the arithmetic of dates could end.
const LATEST_MS: u64 = 16_725_225_600_000;

/// What a node's certificate says; its cluster is that of the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeGrant {
    /// The node.
    pub node_id: NodeId,
    /// The present life of the cluster.
    pub incarnation: u64,
    /// Its host name.
    pub hostname: Hostname,
    /// Its usable addresses, at most 64.
    pub addresses: Vec<IpAddr>,
    /// How long it is valid from now, at most [`MAX_VALIDITY`].
    pub validity: Duration,
}

/// What an operator's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorGrant {
    /// The identity.
    pub identity: OperatorName,
    /// Its role at this moment.
    pub role: Role,
    /// How long it is valid from now, at most [`MAX_VALIDITY`].
    pub validity: Duration,
}

/// The authority could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The cluster id cannot stand in a certificate.
    #[error("the cluster id {given:?} is not 1 to 64 letters, digits and hyphens")]
    ClusterId {
        /// What was given.
        given: String,
    },
    /// The clock is beyond any date a certificate can have.
    #[error("the system clock is wrong: it says {now_ms} ms since 1970")]
    Clock {
        /// What it says.
        now_ms: u64,
    },
    /// The private key.
    #[error("the authority's key cannot be used")]
    Key(#[from] KeyError),
    /// The certificate.
    #[error("the authority's certificate cannot be read")]
    Certificate(#[from] CertificateError),
    /// The certificate is not that of an authority, or of another key.
    #[error("the authority's certificate and key do not belong together")]
    Mismatch,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The library refused.
    #[error("the authority's certificate could not be made: {reason}")]
    Library {
        /// Why.
        reason: String,
    },
}

/// A certificate was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The request was refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A life of zero or of more than a year.
    #[error("a certificate is valid for at most 365 days, and for more than no time; {asked:?} was asked for")]
    Validity {
        /// What was asked for.
        asked: Duration,
    },
    /// Too many addresses.
    #[error("a node's certificate names at most {MAX_ADDRESSES} addresses; {found} were given")]
    Addresses {
        /// How many.
        found: usize,
    },
    /// The authority itself is not valid now, or the clock is wrong.
    #[error("the cluster's certificate authority is not valid at this time: check the clock of this node")]
    AuthorityNotValid,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The library refused.
    #[error("the certificate could not be made: {reason}")]
    Library {
        /// Why.
        reason: String,
    },
}

/// The authority with its private key. Its `Debug` shows the certificate only.
pub struct Authority {
    certificate: Certificate,
    key: PrivateKey,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new authority for a cluster, valid for [`AUTHORITY_VALIDITY`] from `now_ms`.
    pub fn generate(cluster_id: &str, now_ms: u64) -> Result<Authority, AuthorityError> {
        if !is_cluster_id(cluster_id) {
            return Err(AuthorityError::ClusterId { given: cluster_id.chars().take(80).collect() });
        }
        if now_ms >= LATEST_MS {
            return Err(AuthorityError::Clock { now_ms });
        }
        let library = |error: rcgen::Error| AuthorityError::Library { reason: error.to_string() };
        let subject = Subject::Authority { cluster_id: cluster_id.to_owned() };
        let life = Life::starting(now_ms, AUTHORITY_VALIDITY);
        let mut params =
            parameters(&subject, &format!("JACO {cluster_id}"), life, Vec::new(), serial()?).map_err(library)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = PrivateKey::generate()?;
        let certificate = params.self_signed(&key.pair()?).map_err(library)?;
        Authority::assemble(Certificate::from_der(certificate.der())?, key)
    }

    /// Reads the two PEM texts, and checks that they belong together.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Authority, AuthorityError> {
        Authority::assemble(Certificate::from_pem(certificate)?, PrivateKey::from_pem(key)?)
    }

    fn assemble(certificate: Certificate, key: PrivateKey) -> Result<Authority, AuthorityError> {
        let facts = certificate.facts();
        if !matches!(facts.subject, Subject::Authority { .. }) || facts.public_key != key.public_key() {
            return Err(AuthorityError::Mismatch);
        }
        let issuer = Issuer::from_ca_cert_der(certificate.pki_der(), key.pair()?)
            .map_err(|error| AuthorityError::Library { reason: error.to_string() })?;
        Ok(Authority { certificate, key, issuer })
    }

    /// The certificate; its PEM form is `ca.crt`.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The private key in PEM form: to be sealed before it goes anywhere.
    pub fn key_pem(&self) -> Zeroizing<String> {
        self.key.to_pem()
    }

    /// SHA-256 of the certificate's DER form.
    pub fn fingerprint(&self) -> Fingerprint {
        self.certificate.fingerprint()
    }

    /// UUID of the cluster.
    pub fn cluster_id(&self) -> &str {
        self.certificate.facts().subject.cluster_id()
    }

    /// Signs a node's certificate, for servers and clients. The request may name the node's own host and addresses only; the
    /// certificate says what the grant says, whatever the request left out.
    pub fn sign_node(
        &self,
        request: &CertificateRequest,
        grant: &NodeGrant,
        now_ms: u64,
    ) -> Result<Certificate, SignError> {
        if grant.addresses.len() > MAX_ADDRESSES {
            return Err(SignError::Addresses { found: grant.addresses.len() });
        }
        let names = RequestNames { hostname: Some(grant.hostname.clone()), addresses: grant.addresses.clone() };
        request.check(&names)?;
        let subject = Subject::Node {
            cluster_id: self.cluster_id().to_owned(),
            node_id: grant.node_id,
            incarnation: grant.incarnation,
        };
        let sans = alternative_names(&names).map_err(library)?;
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let life = self.life(grant.validity, now_ms)?;
        let params = parameters(&subject, grant.hostname.as_str(), life, sans, serial()?).map_err(library)?;
        self.sign(request, params, usages)
    }

    /// Signs an operator's certificate, for clients only. The request may have no names.
    pub fn sign_operator(
        &self,
        request: &CertificateRequest,
        grant: &OperatorGrant,
        now_ms: u64,
    ) -> Result<Certificate, SignError> {
        request.check(&RequestNames::default())?;
        let subject = Subject::Operator {
            cluster_id: self.cluster_id().to_owned(),
            identity: grant.identity.clone(),
            role: grant.role,
        };
        let life = self.life(grant.validity, now_ms)?;
        let params = parameters(&subject, grant.identity.as_str(), life, Vec::new(), serial()?).map_err(library)?;
        self.sign(request, params, vec![ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// The life of a certificate signed now: never beyond that of the authority.
    fn life(&self, validity: Duration, now_ms: u64) -> Result<Life, SignError> {
        if validity < Duration::from_secs(1) || validity > MAX_VALIDITY {
            return Err(SignError::Validity { asked: validity });
        }
        let facts = self.certificate.facts();
        if now_ms < facts.not_before_ms || now_ms >= facts.not_after_ms {
            return Err(SignError::AuthorityNotValid);
        }
        let life = Life::starting(now_ms, validity);
        let (first, last) = (facts.not_before_ms / 1000, facts.not_after_ms / 1000);
        Ok(Life { not_before: life.not_before.max(first), not_after: life.not_after.min(last) })
    }

    fn sign(
        &self,
        request: &CertificateRequest,
        mut params: CertificateParams,
        usages: Vec<ExtendedKeyUsagePurpose>,
    ) -> Result<Certificate, SignError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        let signed = params.signed_by(request.key(), &self.issuer).map_err(library)?;
        Certificate::from_der(signed.der()).map_err(|error| SignError::Library { reason: error.to_string() })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Seconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
struct Life {
    not_before: u64,
    not_after: u64,
}

impl Life {
    fn starting(now_ms: u64, validity: Duration) -> Life {
        let now = now_ms / 1000;
        Life {
            not_before: now.saturating_sub(BACK_DATING.as_secs()),
            not_after: now.saturating_add(validity.as_secs()),
        }
    }
}

// Takes the error whole, as `map_err` hands it over.
#[allow(clippy::needless_pass_by_value)]
fn library(error: rcgen::Error) -> SignError {
    SignError::Library { reason: error.to_string() }
}

/// What all certificates have in common: life, serial number, and the subject as a URI beside its other names.
fn parameters(
    subject: &Subject,
    name: &str,
    life: Life,
    mut names: Vec<SanType>,
    serial: SerialNumber,
) -> Result<CertificateParams, rcgen::Error> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    names.insert(0, SanType::URI(Ia5String::try_from(subject.to_string())?));
    let mut params = CertificateParams::default();
    params.not_before = epoch + Duration::from_secs(life.not_before);
    params.not_after = epoch + Duration::from_secs(life.not_after);
    params.serial_number = Some(serial);
    params.subject_alt_names = names;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name(name));
    Ok(params)
}

/// Random, positive, and not beginning with a zero byte (RFC 5280, 4.1.2.2).
fn serial() -> Result<SerialNumber, RandomError> {
    let mut bytes = random::bytes::<16>()?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(bytes.as_slice()))
}

#[cfg(test)]
mod tests;
