//! Who gets in: join tokens, joins, operators' tokens and certificates, members' new certificates.
//!
//! Each is one transaction computed by the scheduler's pure [`intent`]s; what is added here is signing. Any member can do it, since every
//! member has a copy of the data key that the authority's key is sealed with.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jaco_identity::{
    Authority, Certificate, CertificateRequest, NodeGrant, OperatorGrant, PublicKeyHash, SealPublicKey, SignError,
};
use jaco_scheduler::intent::{self, Admission, Joining, NewToken};
use jaco_state::{Clock, RequestId, Retry, Store, Transaction, View, update};
use jaco_types::{ErrorCode, JoinToken, Node, NodeId, NodeOperationKind, UserError};

use crate::sealing::Sealing;

/// Life of a node's certificate; renewed at two thirds.
pub const NODE_CERTIFICATE_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Life of an operator's client certificate.
pub const OPERATOR_CERTIFICATE_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Enrolment on this node. Cheap to clone.
#[derive(Clone)]
pub struct Enrolment {
    pub(crate) store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    pub(crate) sealing: Sealing,
}

/// Somebody who wants to join, as it described itself.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// SHA-256 of the token's secret, lower-case hex.
    pub token_hash: String,
    /// Its certificate request.
    pub request: CertificateRequest,
    /// Its record; keys are taken from the request and from `seal_key`.
    pub node: Node,
    /// Newest feature level that it is able to.
    pub feature_level: u32,
    /// What its copies of the data keys are sealed to.
    pub seal_key: SealPublicKey,
}

/// What a joiner is told.
#[derive(Debug, Clone)]
pub struct Joined {
    /// UUID of the cluster.
    pub cluster_id: String,
    /// Its present life.
    pub incarnation: u64,
    /// The joiner's certificate, PEM.
    pub certificate: String,
    /// The authority's certificate, PEM.
    pub authority: String,
    /// `host:port` of the members, for their own traffic.
    pub peers: Vec<String>,
}

impl Enrolment {
    /// With this node's way into what is sealed.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, sealing: Sealing) -> Self {
        Enrolment { store, clock, sealing }
    }

    /// Lets a node join: consumes the token and makes the member in one transaction. The same token with the same key gets the same
    /// answer again.
    ///
    /// # Errors
    /// `version_incompatible` for one that is able to less than the cluster does, those of [`intent::admit`], `csr_invalid`, and of the
    /// write path.
    pub async fn join(&self, mut join: JoinRequest) -> Result<Joined, UserError> {
        let public_key = join.request.public_key().to_string();
        join.node.public_keys = vec![public_key];
        join.node.seal_key = join.seal_key.to_string();
        join.node.joined_at_ms = self.clock.now_ms();
        let joining = Joining { token_hash: join.token_hash.clone(), node: join.node.clone() };
        let mut certificate = String::new();
        let plan = |view: &View| {
            check_level(view, &join)?;
            match intent::admit(view, &joining, self.clock.now_ms())? {
                Admission::Again(joiner) => {
                    certificate = joiner.certificate;
                    Ok(None)
                }
                Admission::New => {
                    certificate = self.sign_member(view, &join.request, &join.node)?.to_pem();
                    let copies = self.sealing.copies_for(view, join.node.id, &join.seal_key)?;
                    Ok(Some(intent::join(view, &joining, certificate.clone(), copies)))
                }
            }
        };
        update(&*self.store, Retry::default(), plan)
            .await
            .map_err(jaco_state::UpdateError::<UserError>::into_user_error)?;
        let view = self.store.view();
        Ok(Joined {
            cluster_id: view.cluster().map(|cluster| cluster.cluster_id.clone()).unwrap_or_default(),
            incarnation: view.incarnation(),
            certificate,
            authority: authority_certificate(&view)?,
            peers: view
                .list::<Node>()
                .filter(|node| node.id != join.node.id)
                .map(|node| node.cluster_address.clone())
                .collect(),
        })
    }

    /// A new certificate for a member, which may change its key: both keys count until the new one was used.
    ///
    /// # Errors
    /// `node_removed` for one that is no member, `csr_invalid`, and those of the write path.
    pub async fn renew(&self, node: NodeId, request: &CertificateRequest) -> Result<String, UserError> {
        let key = node.to_string();
        let public_key = request.public_key().to_string();
        let mut certificate = String::new();
        let plan = |view: &View| {
            let Some(member) = view.get::<Node>(&key) else {
                return Err(UserError::new(ErrorCode::NodeRemoved, "this node is no member of the cluster any more"));
            };
            certificate = self.sign_member(view, request, member)?.to_pem();
            if member.public_keys.contains(&public_key) {
                return Ok(None);
            }
            let mut member = member.clone();
            // The key in use is the last one; anything before it was never taken up.
            let in_use = member.public_keys.pop();
            member.public_keys = in_use.into_iter().chain([public_key.clone()]).collect();
            let mut transaction = Transaction::new("system");
            transaction.check_unchanged::<Node>(key.clone(), view.version::<Node>(&key));
            transaction.audit("cert_rotated", [("hostname", member.hostname.to_string())]);
            transaction.put(member);
            Ok(Some(transaction))
        };
        update(&*self.store, Retry::default(), plan)
            .await
            .map_err(jaco_state::UpdateError::<UserError>::into_user_error)?;
        Ok(certificate)
    }

    /// Issues a join token whose secret has this hash.
    ///
    /// # Errors
    /// Those of [`intent::issue_join_token`], and of the write path.
    pub async fn issue_join_token(
        &self,
        hash: &str,
        life: Duration,
        actor: &str,
        request_id: Option<RequestId>,
    ) -> Result<JoinToken, UserError> {
        let mut issued = None;
        let plan = |view: &View| {
            let (transaction, token) =
                intent::issue_join_token(view, hash.to_owned(), life, self.clock.now_ms(), actor)?;
            issued = Some(token);
            Ok(Some(transaction))
        };
        self.commit(request_id, plan).await?;
        // A repeat finds what the first try left.
        let known = self.store.view().get::<JoinToken>(hash).cloned();
        known.or(issued).ok_or_else(|| UserError::new(ErrorCode::Internal, "the token was not stored"))
    }

    /// Issues an operator's token, and a client certificate when a request for one came with it. Gives the time of issue and the
    /// certificate in PEM form, or an empty text.
    ///
    /// # Errors
    /// `identity_exists`, `csr_invalid`, and those of the write path.
    pub async fn issue_token(
        &self,
        mut token: NewToken,
        request: Option<&CertificateRequest>,
        actor: &str,
        request_id: Option<RequestId>,
    ) -> Result<(u64, String), UserError> {
        token.certificate_keys = request.iter().map(|request| request.public_key().to_string()).collect();
        let now_ms = self.clock.now_ms();
        let plan = |view: &View| intent::issue_token(view, token.clone(), now_ms, actor).map(Some);
        self.commit(request_id, plan).await?;
        let view = self.store.view();
        let issued_at_ms = view.get::<jaco_types::Token>(token.identity.as_str()).map_or(now_ms, |t| t.issued_at_ms);
        let Some(request) = request else { return Ok((issued_at_ms, String::new())) };
        let certificate = sign_operator(&self.sealing.authority(&view)?, request, &token, now_ms)?;
        Ok((issued_at_ms, certificate.to_pem()))
    }

    /// Revokes an operator's token and certificates; gives the time it is revoked since.
    ///
    /// # Errors
    /// `identity_not_found`, and those of the write path.
    pub async fn revoke_token(
        &self,
        identity: &str,
        actor: &str,
        request_id: Option<RequestId>,
    ) -> Result<u64, UserError> {
        let mut since = 0;
        let plan = |view: &View| {
            let (transaction, revoked_at_ms) = intent::revoke_token(view, identity, self.clock.now_ms(), actor)?;
            since = revoked_at_ms;
            Ok((!transaction.is_empty()).then_some(transaction))
        };
        self.commit(request_id, plan).await?;
        let view = self.store.view();
        Ok(view.get::<jaco_types::Token>(identity).and_then(|token| token.revoked_at_ms).unwrap_or(since))
    }

    /// Asks for a node to be emptied or let go. Whoever leads carries it out; the caller watches the node's records.
    ///
    /// # Errors
    /// Those of [`intent::operate`], and of the write path.
    pub async fn operate(
        &self,
        hostname: &jaco_types::Hostname,
        kind: NodeOperationKind,
        force: bool,
        actor: &str,
        request_id: Option<RequestId>,
    ) -> Result<(), UserError> {
        let plan = |view: &View| intent::operate(view, hostname, kind, force, self.clock.now_ms(), actor).map(Some);
        self.commit(request_id, plan).await
    }

    /// Lets a node take replicas again.
    ///
    /// # Errors
    /// Those of [`intent::uncordon`], and of the write path.
    pub async fn uncordon(
        &self,
        hostname: &jaco_types::Hostname,
        actor: &str,
        request_id: Option<RequestId>,
    ) -> Result<(), UserError> {
        let plan = |view: &View| {
            let transaction = intent::uncordon(view, hostname, actor)?;
            Ok((!transaction.is_empty()).then_some(transaction))
        };
        self.commit(request_id, plan).await
    }

    /// A request that was committed before is not planned again: its own commit may have made that impossible.
    async fn commit(
        &self,
        request_id: Option<RequestId>,
        mut plan: impl FnMut(&View) -> Result<Option<Transaction>, UserError>,
    ) -> Result<(), UserError> {
        let plan = |view: &View| {
            if request_id.as_ref().is_some_and(|id| view.commit_of(id).is_some()) {
                return Ok(None);
            }
            let mut transaction = plan(view)?;
            if let (Some(transaction), Some(id)) = (&mut transaction, request_id) {
                transaction.request_id(id);
            }
            Ok(transaction)
        };
        update(&*self.store, Retry::default(), plan)
            .await
            .map(|_| ())
            .map_err(jaco_state::UpdateError::<UserError>::into_user_error)
    }

    fn sign_member(&self, view: &View, request: &CertificateRequest, node: &Node) -> Result<Certificate, UserError> {
        sign_node(&self.sealing.authority(view)?, request, node, view.incarnation(), self.clock.now_ms())
    }
}

/// Refuses a joiner that could not read what the others write.
fn check_level(view: &View, join: &JoinRequest) -> Result<(), UserError> {
    let level = view.cluster().map(|cluster| cluster.feature_level).unwrap_or_default();
    if join.feature_level >= level {
        return Ok(());
    }
    Err(UserError::new(
        ErrorCode::VersionIncompatible,
        format!(
            "the joiner (version {}) reaches feature level {}, and the cluster is at {level}: install a newer jacod there",
            join.node.version, join.feature_level
        ),
    ))
}

/// Signs a node's certificate with the names its record has.
///
/// # Errors
/// `csr_invalid` when the request names somebody else.
pub fn sign_node(
    authority: &Authority,
    request: &CertificateRequest,
    node: &Node,
    incarnation: u64,
    now_ms: u64,
) -> Result<Certificate, UserError> {
    let grant = NodeGrant {
        node_id: node.id,
        incarnation,
        hostname: node.hostname.clone(),
        addresses: addresses(node),
        validity: NODE_CERTIFICATE_LIFE,
    };
    authority.sign_node(request, &grant, now_ms).map_err(not_signed)
}

fn not_signed(error: SignError) -> UserError {
    match error {
        SignError::Request(request) => request.user_error(),
        other => UserError::new(ErrorCode::Internal, "the certificate could not be signed").with("reason", other),
    }
}

/// Signs an operator's client certificate.
///
/// # Errors
/// `csr_invalid` when the request has names.
pub fn sign_operator(
    authority: &Authority,
    request: &CertificateRequest,
    token: &NewToken,
    now_ms: u64,
) -> Result<Certificate, UserError> {
    let grant =
        OperatorGrant { identity: token.identity.clone(), role: token.role, validity: OPERATOR_CERTIFICATE_LIFE };
    authority.sign_operator(request, &grant, now_ms).map_err(not_signed)
}

/// The addresses in a node's record, each once.
fn addresses(node: &Node) -> Vec<IpAddr> {
    let host = |text: &str| text.rsplit_once(':').and_then(|(host, _)| host.trim_matches(['[', ']']).parse().ok());
    let own = node.address.parse::<IpAddr>().ok();
    let mut all: Vec<IpAddr> =
        own.into_iter().chain(host(&node.grpc_address)).chain(host(&node.cluster_address)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The authority's certificate, PEM.
///
/// # Errors
/// `cluster_uninitialized` before there is one.
pub fn authority_certificate(view: &View) -> Result<String, UserError> {
    view.list::<jaco_types::Authority>()
        .next()
        .map(|authority| authority.certificate.clone())
        .ok_or_else(|| UserError::new(ErrorCode::ClusterUninitialized, "this node does not belong to a cluster"))
}

/// The public key that a member's present certificate has was used: the other one on its record is dropped.
///
/// Pure; `None` when there is nothing to drop.
pub fn confirm_key(view: &View, node: NodeId, used: &PublicKeyHash) -> Option<Transaction> {
    let key = node.to_string();
    let member = view.get::<Node>(&key)?;
    let used = used.to_string();
    if member.public_keys.len() < 2 || member.public_keys.last() != Some(&used) {
        return None;
    }
    let mut transaction = Transaction::new("system");
    transaction.check_unchanged::<Node>(key.clone(), view.version::<Node>(&key));
    transaction.put(Node { public_keys: vec![used], ..member.clone() });
    Some(transaction)
}

#[cfg(test)]
mod tests;
