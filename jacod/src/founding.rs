//! How a node gets its place: the first of a new cluster, or a member of one that exists.
//!
//! What must survive is on disk before the change that needs it: keys and certificates before the first transaction is committed, so that
//! an init that died half-way is finished by running it again.

use std::sync::Arc;
use std::time::Duration;

use jaco_api::{CUT_OFF_AFTER, Consensus, ConsensusStatus};
use jaco_client::Deadline;
use jaco_controlplane::{ControlPlane, InitialiseError, Phase, first_data_key, sign_node, sign_operator};
use jaco_identity::{
    Authority, Certificate, CertificateRequest, JoinRecord, JoinToken, NodeDirectory, RequestNames, SealPublicKey,
    TokenHash,
};
use jaco_proto::v1;
use jaco_scheduler::intent::{self, Founding, NewToken};
use jaco_state::{BoxFuture, Clock, Leadership, Store, Transaction};
use jaco_types::{ClusterMeta, ErrorCode, Node, OperatorName, RecoveryRecipient, Role, UserError};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::contact::Contact;
use crate::record::own_record;

/// The first operator's name.
const BOOTSTRAP: &str = "bootstrap";
/// A join is answered within this time; the cluster may be electing a leader.
const JOIN: Duration = Duration::from_secs(45);

/// Init and join on this node, and what consensus says.
#[derive(Clone)]
pub(crate) struct ClusterConsensus {
    pub(crate) control_plane: ControlPlane,
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    /// When this node last heard of a majority.
    pub(crate) contact: Contact,
    /// Has every part built anew.
    pub(crate) rebuild: CancellationToken,
}

fn internal(what: &str, reason: impl std::fmt::Display) -> UserError {
    UserError::new(ErrorCode::Internal, what).with("reason", reason)
}

fn invalid(field: &str, reason: impl std::fmt::Display) -> UserError {
    UserError::new(ErrorCode::ValidationFailed, format!("{field}: {reason}")).with("field", field)
}

impl Consensus for ClusterConsensus {
    fn initialise<'a>(
        &'a self,
        request: v1::InitRequest,
        actor: &'a str,
    ) -> BoxFuture<'a, Result<v1::InitResponse, UserError>> {
        Box::pin(async move {
            let this = self.clone();
            let prepared_for = actor.to_owned();
            // Files and their syncs.
            let prepared = tokio::task::spawn_blocking(move || this.prepare(&request, &prepared_for)).await;
            let prepared = prepared.map_err(|error| internal("the init was cut off", error))??;
            let committed = self.control_plane.initialise(prepared.meta, prepared.first).await;
            committed.map_err(|error: InitialiseError| error.user_error())?;
            self.rebuild.cancel();
            Ok(prepared.answer)
        })
    }

    fn join(&self, request: v1::NodeJoinRequest) -> BoxFuture<'_, Result<v1::NodeJoinResponse, UserError>> {
        Box::pin(async move {
            let token = JoinToken::parse(&request.token).map_err(|error| error.user_error())?;
            let this = self.clone();
            let joiner = tokio::task::spawn_blocking(move || this.describe()).await;
            let joiner = joiner.map_err(|error| internal("the join was cut off", error))??;
            let (answer, authority) = jaco_client::join(&request.peer, &token, joiner, Deadline::after(JOIN)).await?;
            let cluster_id = answer.cluster_id.clone();
            let this = self.clone();
            let settled = tokio::task::spawn_blocking(move || this.settle(answer, &authority)).await;
            settled.map_err(|error| internal("the join was cut off", error))??;
            self.rebuild.cancel();
            Ok(v1::NodeJoinResponse { cluster_id, hostname: self.config.hostname.to_string() })
        })
    }

    fn since_majority(&self) -> Duration {
        match self.control_plane.leadership() {
            Leadership::Leader { .. } => Duration::ZERO,
            Leadership::Follower { leader } => self.contact.age(leader),
        }
    }

    fn status(&self) -> ConsensusStatus {
        let status = self.control_plane.status();
        let knows_leader = match self.control_plane.leadership() {
            Leadership::Leader { .. } => true,
            Leadership::Follower { leader } => leader.is_some(),
        };
        let quorum = knows_leader && self.since_majority() <= CUT_OFF_AFTER;
        ConsensusStatus {
            // Without a majority there is none, whoever it was last.
            leader: status.leader.filter(|_| quorum),
            index: status.applied_index,
            quorum,
            voters: status.voters,
            learners: status.learners,
        }
    }
}

/// A cluster's first transaction, with what the caller is told once it is committed.
struct Prepared {
    meta: ClusterMeta,
    first: Transaction,
    answer: v1::InitResponse,
}

impl ClusterConsensus {
    /// Makes everything a cluster begins with, and puts this node's part of it on disk.
    fn prepare(&self, request: &v1::InitRequest, actor: &str) -> Result<Prepared, UserError> {
        self.refuse_member()?;
        let recovery: SealPublicKey =
            request.recovery_public_key.parse().map_err(|error| invalid("recovery_public_key", error))?;
        let now_ms = self.clock.now_ms();
        let directory = self.directory()?;
        let seal_key = directory.seal_key().map_err(|error| internal("the node's sealing key", error))?;
        let key = directory.pending_key().map_err(|error| internal("the node's key", error))?;
        let meta = self.first_record(&request.name, now_ms);
        let authority = Authority::generate(&meta.cluster_id, now_ms)
            .map_err(|error| internal("the cluster's certificate authority", error))?;
        let node = Node {
            public_keys: vec![key.public_key().to_string()],
            seal_key: seal_key.public().to_string(),
            ..self.own_record(now_ms)
        };
        let csr =
            CertificateRequest::new(&key, &self.names()).map_err(|error| internal("the node's request", error))?;
        let certificate = sign_node(&authority, &csr, &node, meta.incarnation, now_ms)?;
        let (data_key, authority_key) = first_data_key(&meta, &authority, node.id, &seal_key.public(), &recovery)?;
        let (operator, operator_certificate) = first_operator(request, &authority, now_ms)?;
        let mut first = intent::init(&self.control_plane.view(), meta.clone(), node, actor)?;
        let founding = Founding {
            authority: authority.certificate().to_pem(),
            authority_key,
            data_key,
            recovery: RecoveryRecipient { public_key: recovery.to_string() },
            operator,
        };
        intent::found(&mut first, founding, now_ms);
        self.install(
            &directory,
            &certificate,
            authority.certificate(),
            &meta.cluster_id,
            meta.incarnation,
            Vec::new(),
        )?;
        let answer = v1::InitResponse {
            cluster_id: meta.cluster_id.clone(),
            cluster_name: meta.name.clone(),
            ca_fingerprint: authority.fingerprint().to_string(),
            ca_certificate: authority.certificate().to_pem(),
            operator_certificate,
            grpc_address: self.config.listen_addr.to_string(),
        };
        Ok(Prepared { meta, first, answer })
    }

    /// What this node says of itself to join. The secret is added when the other side has proved who it is.
    fn describe(&self) -> Result<v1::JoinRequest, UserError> {
        self.refuse_member()?;
        let directory = self.directory()?;
        let seal_key = directory.seal_key().map_err(|error| internal("the node's sealing key", error))?;
        let key = directory.pending_key().map_err(|error| internal("the node's key", error))?;
        let csr =
            CertificateRequest::new(&key, &self.names()).map_err(|error| internal("the node's request", error))?;
        let own = self.own_record(self.clock.now_ms());
        Ok(v1::JoinRequest {
            secret: String::new(),
            certificate_request: csr.der().to_vec(),
            hostname: own.hostname.to_string(),
            node_id: own.id.0,
            address: own.address,
            grpc_address: own.grpc_address,
            cluster_address: own.cluster_address,
            version: own.version,
            feature_level: self.config.feature_level,
            seal_key: seal_key.public().to_string(),
        })
    }

    /// Puts on disk what a join gave.
    fn settle(&self, answer: v1::JoinResponse, authority: &Certificate) -> Result<(), UserError> {
        let certificate = Certificate::from_pem(&answer.certificate)
            .map_err(|error| internal("the member's answer holds no certificate", error))?;
        self.install(&self.directory()?, &certificate, authority, &answer.cluster_id, answer.incarnation, answer.peers)
    }

    fn install(
        &self,
        directory: &NodeDirectory,
        certificate: &Certificate,
        authority: &Certificate,
        cluster_id: &str,
        incarnation: u64,
        peers: Vec<String>,
    ) -> Result<(), UserError> {
        let failed = |error| internal("the node's certificate cannot be kept", error);
        directory.install(certificate, authority).map_err(failed)?;
        let record = JoinRecord {
            cluster_id: cluster_id.to_owned(),
            node_id: self.control_plane.node_id(),
            hostname: self.config.hostname.clone(),
            incarnation,
            ca_fingerprint: authority.fingerprint().to_string(),
            peers,
        };
        directory.write_join(&record).map_err(failed)
    }

    fn refuse_member(&self) -> Result<(), UserError> {
        let joined = self.directory()?.read_join().map_err(|error| internal("the node's join record", error))?;
        let waiting = joined.is_some_and(|record| !record.peers.is_empty());
        if waiting || self.control_plane.phase() == Phase::Member {
            return Err(UserError::new(
                ErrorCode::ClusterAlreadyInitialized,
                "this node already belongs to a cluster; nothing was changed",
            ));
        }
        Ok(())
    }

    fn directory(&self) -> Result<NodeDirectory, UserError> {
        NodeDirectory::open(&self.config.data_dir).map_err(|error| internal("the node's directory", error))
    }

    fn names(&self) -> RequestNames {
        RequestNames { hostname: Some(self.config.hostname.clone()), addresses: vec![self.config.advertise] }
    }

    fn first_record(&self, name: &str, now_ms: u64) -> ClusterMeta {
        let cluster_id = uuid::Uuid::new_v4().to_string();
        ClusterMeta {
            name: if name.is_empty() { cluster_id.clone() } else { name.to_owned() },
            cluster_id,
            incarnation: self.control_plane.incarnation(),
            feature_level: self.config.feature_level,
            created_at_ms: now_ms,
            ipam_pool: self.config.ipam_pool,
            mesh_cidr: self.config.mesh_cidr,
            node_down_after_ms: u64::try_from(self.config.node_down_after.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn own_record(&self, now_ms: u64) -> Node {
        own_record(&self.config, self.control_plane.node_id(), now_ms)
    }
}

/// The first operator with its certificate, as far as they are wanted.
fn first_operator(
    request: &v1::InitRequest,
    authority: &Authority,
    now_ms: u64,
) -> Result<(Option<NewToken>, String), UserError> {
    if request.operator_token_hash.is_empty() {
        return Ok((None, String::new()));
    }
    let hash: TokenHash = request.operator_token_hash.parse().map_err(|error| invalid("operator_token_hash", error))?;
    let identity = OperatorName::new(BOOTSTRAP).map_err(|error| internal("the first operator's name", error))?;
    let mut operator = NewToken {
        identity,
        hash: hash.to_string(),
        role: Role::Admin,
        allows_privileged: false,
        certificate_keys: Default::default(),
    };
    if request.operator_certificate_request.is_empty() {
        return Ok((Some(operator), String::new()));
    }
    let csr =
        CertificateRequest::from_der(&request.operator_certificate_request).map_err(|error| error.user_error())?;
    operator.certificate_keys.insert(csr.public_key().to_string());
    let certificate = sign_operator(authority, &csr, &operator, now_ms)?;
    Ok((Some(operator), certificate.to_pem()))
}
