//! Certificate requests: made by whoever holds the key, checked by whoever signs.

use std::fmt;
use std::net::IpAddr;

use jaco_types::{ErrorCode, Hostname, UserError};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, DnValue, IsCa, PublicKeyData,
    SanType,
};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::hash::PublicKeyHash;
use crate::key::{KeyError, PrivateKey};

/// Larger than any honest request; what a caller may make us parse.
const MAX_BYTES: usize = 16 * 1024;

/// The names a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestNames {
    /// The host; also its common name. An operator's request has none.
    pub hostname: Option<Hostname>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A request that is refused. The user's code is `csr_invalid`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not a certificate request, or too large.
    #[error("the certificate request cannot be read: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// It was not signed by the key it names.
    #[error("the certificate request was not signed by the key that it names")]
    NotProven,
    /// It names somebody else.
    #[error(
        "the certificate request names {name}, which is not the caller: it may name the caller's own host name and addresses only"
    )]
    OtherName {
        /// The name it should not have.
        name: String,
    },
    /// It asks for rights that are never given.
    #[error("the certificate request asks for {what}, which is never given")]
    Rights {
        /// What it asks for.
        what: &'static str,
    },
}

impl RequestError {
    /// What the user sees.
    pub fn user_error(&self) -> UserError {
        UserError::new(ErrorCode::CsrInvalid, self.to_string())
    }
}

/// A request whose signature proves that its maker holds the key.
#[derive(Clone)]
pub struct CertificateRequest {
    der: Vec<u8>,
    parsed: CertificateSigningRequestParams,
    public_key: PublicKeyHash,
}

impl CertificateRequest {
    /// Makes a request for a key.
    pub fn new(key: &PrivateKey, names: &RequestNames) -> Result<CertificateRequest, KeyError> {
        let unusable = |error: rcgen::Error| KeyError::Unusable { reason: error.to_string() };
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(hostname) = &names.hostname {
            params.distinguished_name.push(DnType::CommonName, common_name(hostname.as_str()));
        }
        params.subject_alt_names = alternative_names(names).map_err(unusable)?;
        let request = params.serialize_request(&key.pair()?).map_err(unusable)?;
        CertificateRequest::from_der(request.der())
            .map_err(|error| KeyError::Unusable { reason: format!("its own request is not accepted: {error}") })
    }

    /// Reads the DER form and checks its signature.
    pub fn from_der(der: &[u8]) -> Result<CertificateRequest, RequestError> {
        let malformed = |reason: String| RequestError::Malformed { reason };
        if der.len() > MAX_BYTES {
            return Err(malformed(format!("it has {} bytes, more than {MAX_BYTES}", der.len())));
        }
        let (rest, raw) = X509CertificationRequest::from_der(der).map_err(|error| malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed(format!("{} bytes follow it", rest.len())));
        }
        let parsed = CertificateSigningRequestParams::from_der(&der.into()).map_err(|error| match error {
            rcgen::Error::InvalidCertificationRequestSignature => RequestError::NotProven,
            other => malformed(other.to_string()),
        })?;
        let key = raw.certification_request_info.subject_pki.raw;
        // The library takes the kind of key from the signature's algorithm: a request where the two differ would get a
        // certificate for a key that is not the one whose possession it proved.
        if parsed.public_key.subject_public_key_info() != key {
            return Err(malformed("its key and its signature are of different kinds".to_owned()));
        }
        Ok(CertificateRequest { der: der.to_vec(), public_key: PublicKeyHash::of_der(key), parsed })
    }

    /// The DER form, for the wire.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Hash of the key it asks a certificate for.
    pub fn public_key(&self) -> PublicKeyHash {
        self.public_key
    }

    pub(crate) fn key(&self) -> &rcgen::PublicKey {
        &self.parsed.public_key
    }

    /// Refuses a request that names anybody but the caller, or asks to be an authority. A caller need not name all it is.
    pub fn check(&self, caller: &RequestNames) -> Result<(), RequestError> {
        let params = &self.parsed.params;
        if matches!(params.is_ca, IsCa::Ca(_)) {
            return Err(RequestError::Rights { what: "the rights of an authority" });
        }
        let own = |name: &str| caller.hostname.as_ref().is_some_and(|host| host.as_str().eq_ignore_ascii_case(name));
        for (kind, value) in params.distinguished_name.iter() {
            let text = dn_text(value);
            let expected = caller.hostname.as_ref().map(|host| common_name(host.as_str()));
            if *kind != DnType::CommonName || expected.is_none_or(|expected| !expected.eq_ignore_ascii_case(&text)) {
                return Err(RequestError::OtherName { name: text });
            }
        }
        for name in &params.subject_alt_names {
            let allowed = match name {
                SanType::DnsName(name) => own(name.as_str()),
                SanType::IpAddress(address) => caller.addresses.contains(address),
                // The library's enum is open; whatever else there is names nothing that a node has.
                _ => false,
            };
            if !allowed {
                return Err(RequestError::OtherName { name: san_text(name) });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for CertificateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateRequest").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

/// The names as the library wants them.
pub(crate) fn alternative_names(names: &RequestNames) -> Result<Vec<SanType>, rcgen::Error> {
    let host = names.hostname.iter().map(|host| Ok(SanType::DnsName(Ia5String::try_from(host.as_str())?)));
    host.chain(names.addresses.iter().map(|address| Ok(SanType::IpAddress(*address)))).collect()
}

/// A common name has at most 64 characters (X.520 `ub-common-name`); a host name may have 253. It is for reading only.
pub(crate) fn common_name(text: &str) -> String {
    text.chars().take(64).collect()
}

fn dn_text(value: &DnValue) -> String {
    match value {
        DnValue::Utf8String(text) => text.clone(),
        DnValue::PrintableString(text) => text.as_str().to_owned(),
        DnValue::Ia5String(text) => text.as_str().to_owned(),
        other => format!("{other:?}"),
    }
}

fn san_text(name: &SanType) -> String {
    match name {
        SanType::DnsName(text) | SanType::Rfc822Name(text) | SanType::URI(text) => text.as_str().to_owned(),
        SanType::IpAddress(address) => address.to_string(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests;
