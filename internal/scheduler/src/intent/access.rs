//! `jaco token issue` and `revoke`, and what the first transaction of a cluster says about trust.

use std::collections::BTreeSet;

use jaco_state::{Transaction, View};
use jaco_types::{Authority, DataKey, ErrorCode, OperatorName, RecoveryRecipient, Role, SealedValue, Token, UserError};

/// What trust in a cluster begins with.
#[derive(Debug, Clone)]
pub struct Founding {
    /// The authority's certificate, PEM.
    pub authority: String,
    /// Its key, sealed.
    pub authority_key: SealedValue,
    /// The first data key's copies.
    pub data_key: DataKey,
    /// The recovery key's public half.
    pub recovery: RecoveryRecipient,
    /// The first operator, if one is wanted.
    pub operator: Option<NewToken>,
}

/// A token to be issued.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whom it stands for.
    pub identity: OperatorName,
    /// SHA-256 of the token, lower-case hex.
    pub hash: String,
    /// What its bearer may do.
    pub role: Role,
    /// Its bearer may apply privileged services.
    pub allows_privileged: bool,
    /// Public keys of its client certificates.
    pub certificate_keys: BTreeSet<String>,
}

impl NewToken {
    fn record(self, now_ms: u64) -> Token {
        Token {
            identity: self.identity,
            hash: self.hash,
            role: self.role,
            allows_privileged: self.allows_privileged,
            issued_at_ms: now_ms,
            revoked_at_ms: None,
            certificate_keys: self.certificate_keys,
        }
    }
}

/// Adds the beginning of trust to a cluster's first transaction.
pub fn found(transaction: &mut Transaction, founding: Founding, now_ms: u64) {
    transaction
        .put(Authority { certificate: founding.authority, key: founding.authority_key })
        .put(founding.data_key)
        .put(founding.recovery);
    if let Some(operator) = founding.operator {
        audit_issue(transaction, &operator);
        transaction.put(operator.record(now_ms));
    }
}

/// Issues a token. A revoked name may be issued anew.
///
/// Errors: `identity_exists`.
pub fn issue_token(view: &View, token: NewToken, now_ms: u64, actor: &str) -> Result<Transaction, UserError> {
    let key = token.identity.to_string();
    if view.get::<Token>(&key).is_some_and(|known| known.revoked_at_ms.is_none()) {
        return Err(UserError::new(
            ErrorCode::IdentityExists,
            format!(
                "{key} has a token already: revoke it first with `jaco token revoke {key}`, or choose another name"
            ),
        )
        .with("identity", &key));
    }
    let mut transaction = Transaction::new(actor);
    transaction.check_unchanged::<Token>(key.clone(), view.version::<Token>(&key));
    audit_issue(&mut transaction, &token);
    transaction.put(token.record(now_ms));
    Ok(transaction)
}

fn audit_issue(transaction: &mut Transaction, token: &NewToken) {
    transaction.audit(
        "token_issue",
        [
            ("identity", token.identity.to_string()),
            ("role", token.role.to_string()),
            ("allows_privileged", token.allows_privileged.to_string()),
        ],
    );
}

/// Revokes a token and the client certificates of its identity. Revoking it again changes nothing.
///
/// Errors: `identity_not_found`.
pub fn revoke_token(view: &View, identity: &str, now_ms: u64, actor: &str) -> Result<(Transaction, u64), UserError> {
    let Some(known) = view.get::<Token>(identity) else {
        return Err(UserError::new(
            ErrorCode::IdentityNotFound,
            format!("there is no identity {identity:?}; `jaco token list` shows those there are"),
        )
        .with("identity", identity));
    };
    let mut transaction = Transaction::new(actor);
    if let Some(revoked_at_ms) = known.revoked_at_ms {
        return Ok((transaction, revoked_at_ms));
    }
    transaction.check_unchanged::<Token>(identity, view.version::<Token>(identity));
    transaction.audit(
        "token_revoke",
        [("identity", identity.to_owned()), ("allows_privileged", known.allows_privileged.to_string())],
    );
    transaction.put(Token { revoked_at_ms: Some(now_ms), certificate_keys: BTreeSet::new(), ..known.clone() });
    Ok((transaction, now_ms))
}
