//! `token issue`, `revoke` and `list`.

use std::path::PathBuf;

use jaco_proto::v1;
use jaco_types::{Role, UserError};
use serde::Serialize;

use super::{newer_daemon, out_of_range};
use crate::printer::View;
use crate::table::{Table, or_dash};
use crate::text::{timestamp, timestamp_seconds};

/// The role on the wire.
pub fn role(value: i32) -> Result<Role, UserError> {
    let wire = v1::Role::try_from(value).map_err(|_| out_of_range("role", value))?;
    Role::try_from(wire).map_err(|unknown| newer_daemon(&unknown))
}

/// A token that was just made: the only time it is shown.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Issued {
    pub identity: String,
    pub token: String,
    pub issued_at: String,
    pub allows_privileged: bool,
    pub role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_dir: Option<PathBuf>,
}

impl View for Issued {
    fn table(&self) -> String {
        let text = format!("Token for {} (save this; not recoverable): {}\n", self.identity, self.token);
        match &self.certificate_dir {
            Some(directory) => {
                format!("{text}Client certificate in {}: client.crt, client.key, ca.crt\n", directory.display())
            }
            None => text,
        }
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.token)
    }
}

/// A revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revoked {
    pub identity: String,
    pub revoked_at: String,
}

impl View for Revoked {
    fn table(&self) -> String {
        format!("Revoked token for {}\n", self.identity)
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.identity)
    }
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operator {
    pub identity: String,
    pub issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    pub allows_privileged: bool,
    pub role: Role,
    #[serde(skip)]
    issued_at_ms: u64,
    #[serde(skip)]
    revoked_at_ms: Option<u64>,
}

/// Every operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tokens {
    pub tokens: Vec<Operator>,
}

impl TryFrom<v1::ListTokensResponse> for Tokens {
    type Error = UserError;

    fn try_from(wire: v1::ListTokensResponse) -> Result<Self, UserError> {
        let one = |wire: v1::OperatorToken| -> Result<Operator, UserError> {
            Ok(Operator {
                role: role(wire.role)?,
                identity: wire.identity,
                issued_at: timestamp(wire.issued_at_ms),
                revoked_at: wire.revoked_at_ms.map(timestamp),
                allows_privileged: wire.allows_privileged,
                issued_at_ms: wire.issued_at_ms,
                revoked_at_ms: wire.revoked_at_ms,
            })
        };
        Ok(Tokens { tokens: wire.tokens.into_iter().map(one).collect::<Result<_, _>>()? })
    }
}

impl View for Tokens {
    fn table(&self) -> String {
        let mut table = Table::new(&["IDENTITY", "ISSUED", "REVOKED", "PRIVILEGED", "ROLE"]);
        for row in &self.tokens {
            table.row([
                row.identity.clone(),
                timestamp_seconds(row.issued_at_ms),
                or_dash(row.revoked_at_ms.map(timestamp_seconds)),
                if row.allows_privileged { "yes" } else { "no" }.to_owned(),
                super::upper(row.role.as_str()),
            ]);
        }
        table.render()
    }

    fn quiet(&self) -> String {
        self.tokens.iter().map(|row| format!("{}\n", row.identity)).collect()
    }
}
