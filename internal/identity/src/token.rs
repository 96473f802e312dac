//! Operator tokens and join tokens: made by the client, shown once, stored as a hash.

use std::fmt;
use std::str::FromStr;

use jaco_types::{ErrorCode, UserError};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::hash::Fingerprint;
use crate::hexadecimal::{self, InvalidHex};
use crate::random::{self, RandomError};

/// SHA-256 of a token: all that is stored of it. 64 hexadecimal digits as text, so it can be a key in the store.
///
/// Tokens are 32 random bytes, so a plain hash cannot be searched and needs no salt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(secret: &[u8; 32]) -> TokenHash {
        // Over the text form in lower case, as `sha256sum` would say of what the user sees.
        let text = Zeroizing::new(hex::encode(secret));
        TokenHash(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether two hashes are equal, in a time that does not depend on where they differ. The derived `==` is for tests and maps.
    pub fn matches(&self, other: &TokenHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}

impl FromStr for TokenHash {
    type Err = InvalidHex;
    fn from_str(text: &str) -> Result<Self, InvalidHex> {
        hexadecimal::parse(text).map(|bytes| TokenHash(*bytes))
    }
}

/// A bearer token that is not one. The text itself is never repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid: {0}")]
pub struct InvalidToken(#[from] pub InvalidHex);

impl InvalidToken {
    /// What the user sees.
    pub fn user_error(&self) -> UserError {
        UserError::new(ErrorCode::TokenInvalid, self.to_string())
    }
}

/// An operator's bearer token: 64 hexadecimal digits. Wiped when dropped, never shown by `Debug`.
#[derive(Clone)]
pub struct OperatorToken(Zeroizing<[u8; 32]>);

impl OperatorToken {
    /// A new random token.
    pub fn generate() -> Result<OperatorToken, RandomError> {
        random::bytes().map(OperatorToken)
    }

    /// Reads 64 hexadecimal digits in either case; blanks around them are dropped.
    pub fn parse(text: &str) -> Result<OperatorToken, InvalidToken> {
        Ok(OperatorToken(hexadecimal::parse(text.trim())?))
    }

    /// The text to show once, or to send.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_slice()))
    }

    /// What is stored of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken(..)")
    }
}

/// The secret half of a join token: what travels to the cluster, once its authority is verified.
#[derive(Clone)]
pub struct JoinSecret(Zeroizing<[u8; 32]>);

impl JoinSecret {
    /// Reads 64 hexadecimal digits in either case.
    pub fn parse(text: &str) -> Result<JoinSecret, InvalidJoinToken> {
        hexadecimal::parse(text).map(JoinSecret).map_err(InvalidJoinToken::Secret)
    }

    /// The text to send.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_slice()))
    }

    /// What is stored of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecret(..)")
    }
}

/// A join token that is not one. The text itself is never repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJoinToken {
    /// No dot, or more than one.
    #[error("the join token has not the form <secret>.<CA fingerprint>: copy it whole")]
    Form,
    /// The part before the dot.
    #[error("the secret of the join token, before the dot, is not valid: {0}; copy the token whole")]
    Secret(InvalidHex),
    /// The part after the dot.
    #[error("the CA fingerprint of the join token, after the dot, is not valid: {0}; copy the token whole")]
    Fingerprint(InvalidHex),
}

impl InvalidJoinToken {
    /// What the user sees.
    pub fn user_error(&self) -> UserError {
        UserError::new(ErrorCode::JoinTokenInvalid, self.to_string())
    }
}

/// A join token: `<64 digits secret>.<64 digits fingerprint of the authority>`.
#[derive(Debug, Clone)]
pub struct JoinToken {
    secret: JoinSecret,
    fingerprint: Fingerprint,
}

impl JoinToken {
    /// A new random token for the cluster with this authority.
    pub fn generate(fingerprint: Fingerprint) -> Result<JoinToken, RandomError> {
        Ok(JoinToken { secret: JoinSecret(random::bytes()?), fingerprint })
    }

    /// Reads the text form; blanks around it are dropped.
    pub fn parse(text: &str) -> Result<JoinToken, InvalidJoinToken> {
        let (secret, fingerprint) = text.trim().split_once('.').ok_or(InvalidJoinToken::Form)?;
        if fingerprint.contains('.') {
            return Err(InvalidJoinToken::Form);
        }
        let fingerprint = fingerprint.parse().map_err(InvalidJoinToken::Fingerprint)?;
        Ok(JoinToken { secret: JoinSecret::parse(secret)?, fingerprint })
    }

    /// The secret half: to be sent only over a connection pinned to [`JoinToken::fingerprint`].
    pub fn secret(&self) -> &JoinSecret {
        &self.secret
    }

    /// The authority the joiner must see.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The text to show once.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}.{}", self.secret.reveal().as_str(), self.fingerprint))
    }
}

#[cfg(test)]
mod tests;
