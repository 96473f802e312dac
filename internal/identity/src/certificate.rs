//! A certificate of ours, read once: its bytes, and the facts the rest of the workspace asks for.

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::hash::{Fingerprint, PublicKeyHash};
use crate::subject::Subject;

/// Larger than any certificate of ours; what a peer may make us parse.
const MAX_BYTES: usize = 16 * 1024;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whom it was made for.
    pub subject: Subject,
    /// The key it vouches for.
    pub public_key: PublicKeyHash,
    /// Its serial number, lower-case hexadecimal; unique within the authority.
    pub serial: String,
    /// First moment of its life, milliseconds since the Unix epoch.
    pub not_before_ms: u64,
    /// Last moment of its life, milliseconds since the Unix epoch.
    pub not_after_ms: u64,
    /// The IP addresses among its names.
    pub addresses: Vec<IpAddr>,
}

/// Bytes that are not a certificate of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not PEM, not DER, too large, or with bytes after its end.
    #[error("it is not a certificate: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// A certificate, but not one that a JACO cluster issued.
    #[error("it is a certificate that no JACO cluster issued: {reason}")]
    Foreign {
        /// What is missing or wrong.
        reason: String,
    },
}

/// A certificate that names an authority, a node or an operator of a JACO cluster.
///
/// Having one says nothing about its signature: that is checked by the TLS side, against the authority.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    facts: Facts,
}

impl Certificate {
    /// Reads the DER form.
    pub fn from_der(der: &[u8]) -> Result<Certificate, CertificateError> {
        let facts = read(der)?;
        Ok(Certificate { der: CertificateDer::from(der.to_vec()), facts })
    }

    /// Reads the first certificate of a PEM text.
    pub fn from_pem(text: &str) -> Result<Certificate, CertificateError> {
        let der = CertificateDer::from_pem_slice(text.as_bytes())
            .map_err(|error| CertificateError::Malformed { reason: error.to_string() })?;
        Certificate::from_der(&der)
    }

    /// The DER form.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    pub(crate) fn pki_der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The PEM form, ending with a newline.
    pub fn to_pem(&self) -> String {
        crate::key::pem("CERTIFICATE", &self.der).to_string()
    }

    /// SHA-256 of the DER form.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_der(&self.der)
    }

    /// What it says.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("facts", &self.facts).finish_non_exhaustive()
    }
}

fn read(der: &[u8]) -> Result<Facts, CertificateError> {
    let malformed = |reason: String| CertificateError::Malformed { reason };
    if der.len() > MAX_BYTES {
        return Err(malformed(format!("it has {} bytes, more than {MAX_BYTES}", der.len())));
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(malformed(format!("{} bytes follow it", rest.len())));
    }
    let validity = certificate.validity();
    Ok(Facts {
        subject: subject_of(&certificate)?,
        public_key: PublicKeyHash::of_der(certificate.public_key().raw),
        serial: hex::encode(certificate.raw_serial()),
        not_before_ms: milliseconds(validity.not_before.timestamp()),
        not_after_ms: milliseconds(validity.not_after.timestamp()),
        addresses: addresses_of(&certificate),
    })
}

/// The IP addresses among the certificate's names.
fn addresses_of(certificate: &X509Certificate<'_>) -> Vec<IpAddr> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let address = |bytes: &[u8]| -> Option<IpAddr> {
        let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
    };
    names
        .filter_map(|name| match name {
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect()
}

/// The one name of ours among the certificate's names.
fn subject_of(certificate: &X509Certificate<'_>) -> Result<Subject, CertificateError> {
    let foreign = |reason: String| CertificateError::Foreign { reason };
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| CertificateError::Malformed { reason: error.to_string() })?
        .ok_or_else(|| foreign("it has no alternative names".to_owned()))?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => uri.parse().map_err(|error: crate::InvalidSubject| foreign(error.to_string())),
        (None, _) => Err(foreign("it has no URI among its names".to_owned())),
        (Some(_), Some(_)) => Err(foreign("it has more than one URI among its names".to_owned())),
    }
}

fn milliseconds(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1000)
}

#[cfg(test)]
mod tests;
