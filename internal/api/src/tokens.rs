//! `Tokens`: operators' tokens and client certificates. Secrets are made by the client; only hashes and requests come here.

use std::collections::BTreeSet;

use jaco_controlplane::NewToken;
use jaco_identity::{CertificateRequest, TokenHash};
use jaco_proto::v1::tokens_server::Tokens;
use jaco_proto::{to_status, v1};
use jaco_types::{ErrorCode, OperatorName, Role, Token, UserError};
use tonic::{Request, Response, Status};

use crate::Api;
use crate::caller::identity;
use crate::deploy::request_id;

fn invalid(field: &str, reason: impl std::fmt::Display) -> UserError {
    UserError::new(ErrorCode::ValidationFailed, format!("{field}: {reason}")).with("field", field)
}

/// The name of an identity to be.
///
/// Errors: `reserved_identity`, `validation_failed`.
fn operator_name(text: &str) -> Result<OperatorName, UserError> {
    if OperatorName::is_reserved(text) {
        return Err(UserError::new(
            ErrorCode::ReservedIdentity,
            format!("the name {text:?} is kept for the system: take another one, without a colon"),
        )
        .with("identity", text));
    }
    OperatorName::new(text)
        .map_err(|error| UserError::new(ErrorCode::ValidationFailed, error.to_string()).with("field", "identity"))
}

/// The checked form of a request.
fn new_token(request: &v1::IssueTokenRequest) -> Result<(NewToken, Option<CertificateRequest>), UserError> {
    let identity = operator_name(&request.identity)?;
    let hash: TokenHash = request.token_hash.parse().map_err(|error| invalid("token_hash", error))?;
    let role = Role::try_from(request.role()).map_err(|error| invalid("role", error))?;
    let csr = match request.certificate_request.as_slice() {
        [] => None,
        der => Some(CertificateRequest::from_der(der).map_err(|error| error.user_error())?),
    };
    let token = NewToken {
        identity,
        hash: hash.to_string(),
        role,
        allows_privileged: request.allows_privileged,
        certificate_keys: BTreeSet::new(),
    };
    Ok((token, csr))
}

impl Api {
    async fn issue(&self, request: v1::IssueTokenRequest, actor: &str) -> Result<v1::IssueTokenResponse, Status> {
        let id = request_id(request.request_id.clone())?;
        let issued = async {
            let (token, csr) = new_token(&request)?;
            let role = token.role;
            let enrolment = self.parts().enrolment()?;
            let (issued_at_ms, certificate) = enrolment.issue_token(token, csr.as_ref(), actor, id).await?;
            Ok(v1::IssueTokenResponse {
                identity: request.identity.clone(),
                issued_at_ms,
                role: v1::Role::from(role).into(),
                certificate,
                ca_certificate: jaco_controlplane::authority_certificate(&self.parts().store.view())?,
            })
        };
        issued.await.map_err(|error: UserError| to_status(&error))
    }
}

fn wire(token: &Token) -> v1::OperatorToken {
    v1::OperatorToken {
        identity: token.identity.to_string(),
        role: v1::Role::from(token.role).into(),
        issued_at_ms: token.issued_at_ms,
        revoked_at_ms: token.revoked_at_ms,
        allows_privileged: token.allows_privileged,
    }
}

#[tonic::async_trait]
impl Tokens for Api {
    async fn issue(&self, request: Request<v1::IssueTokenRequest>) -> Result<Response<v1::IssueTokenResponse>, Status> {
        let actor = identity(&request)?;
        self.view()?;
        Api::issue(self, request.into_inner(), &actor).await.map(Response::new)
    }

    async fn revoke(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let actor = identity(&request)?;
        self.view()?;
        let request = request.into_inner();
        let id = request_id(request.request_id)?;
        let enrolment = self.parts().enrolment().map_err(|error| to_status(&error))?;
        let revoked = enrolment.revoke_token(&request.identity, &actor, id).await;
        let revoked_at_ms = revoked.map_err(|error| to_status(&error))?;
        Ok(Response::new(v1::RevokeTokenResponse { identity: request.identity, revoked_at_ms }))
    }

    async fn list(&self, request: Request<v1::ListTokensRequest>) -> Result<Response<v1::ListTokensResponse>, Status> {
        identity(&request)?;
        let tokens = self.view()?.list::<Token>().map(wire).collect();
        Ok(Response::new(v1::ListTokensResponse { tokens }))
    }
}
