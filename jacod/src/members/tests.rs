//! Three stores on real disks, over real TLS on loopback.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use jaco_api::{InternalApi, InternalParts, OtherNodes, PortLimits, serve_members};
use jaco_client::Members;
use jaco_controlplane::{
    BootClock, ControlPlane, Enrolment, Options, PeerTransport, RaftTarget, Sealing, SessionTable, SessionTableOptions,
    sign_node,
};
use jaco_identity::{
    Acceptor, Authority, CertificateRequest, ClientOptions, Connector, Credential, LiveCredential, PrivateKey,
    RequestNames, SealSecretKey, ServerOptions, SystemWallClock, Trust,
};
use jaco_scheduler::LeaseTerms;
use jaco_state::{Leadership, ProposeError, Store, SystemClock, Transaction};
use jaco_types::{Claim, ClaimKind, ClusterMeta, DeploymentName, ErrorCode, Hostname, Node, NodeId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{OtherDaemons, OwnLogs, Renewals};
use crate::sessions::TableHost;

const INCARNATION: u64 = 77;
const PATIENCE: Duration = Duration::from_secs(20);

/// A running member.
struct Member {
    store: ControlPlane,
    node: Node,
    members: Members,
    stop: CancellationToken,
    tasks: TaskTracker,
    _disk: tempfile::TempDir,
}

struct NoLines;

impl jaco_api::LogSource for NoLines {
    fn read(
        &self,
        _node: NodeId,
        _container_id: String,
        _options: jaco_api::LogOptions,
        _lines: tokio::sync::mpsc::Sender<jaco_api::ReplicaLogLine>,
    ) -> jaco_state::BoxFuture<'static, Result<(), jaco_types::UserError>> {
        Box::pin(async { Ok(()) })
    }
}

async fn start(authority: &Authority, number: u64) -> Member {
    let disk = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let key = PrivateKey::generate().unwrap();
    let hostname = Hostname::new(format!("n{number}")).unwrap();
    let names = RequestNames { hostname: Some(hostname.clone()), addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] };
    let request = CertificateRequest::new(&key, &names).unwrap();
    let node = Node {
        id: NodeId(number),
        hostname,
        address: "127.0.0.1".to_owned(),
        grpc_address: "127.0.0.1:7000".to_owned(),
        version: "0".to_owned(),
        joined_at_ms: 1,
        cluster_address: address.to_string(),
        public_keys: vec![key.public_key().to_string()],
        seal_key: String::new(),
        labels: Default::default(),
    };
    let now_ms = jaco_identity::WallClock::now_ms(&SystemWallClock);
    let certificate = sign_node(authority, &request, &node, INCARNATION, now_ms).unwrap();
    let credential = LiveCredential::new(Credential::new(&certificate, &key, authority.certificate()).unwrap());
    let connector = Connector::new(ClientOptions {
        trust: Trust::Authority(authority.certificate().clone()),
        credential: Some(credential.clone()),
        clock: Arc::new(SystemWallClock),
        handshake_timeout: Duration::from_secs(5),
    });
    let mut options = Options::new(disk.path(), node.id);
    let members = Members::new(connector.unwrap());
    options.transport = Arc::new(PeerTransport(members.clone()));
    options.address = node.cluster_address.clone();
    options.incarnation = Some(INCARNATION);
    let store = ControlPlane::open(options).await.unwrap();
    let enrolment = Enrolment::new(
        Arc::new(store.clone()),
        Arc::new(SystemClock::new()),
        Sealing::new(node.id, SealSecretKey::generate().unwrap()),
    );
    let api = InternalApi::new(InternalParts {
        store: Arc::new(store.clone()),
        peers: Arc::new(store.clone()),
        sessions: Arc::new(TableHost(SessionTable::new(SessionTableOptions {
            store: Arc::new(store.clone()),
            predecessor: Arc::new(store.clone()),
            own: node.id,
            clock: Arc::new(BootClock),
            terms: LeaseTerms::default(),
        }))),
        signer: Arc::new(Renewals(enrolment)),
        logs: Arc::new(OwnLogs { source: Arc::new(NoLines), node: node.id, host: node.hostname.to_string() }),
    });
    let acceptor = Acceptor::members(ServerOptions {
        authority: authority.certificate().clone(),
        credential,
        clock: Arc::new(SystemWallClock),
        handshake_timeout: Duration::from_secs(5),
    });
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(serve_members(api, listener, acceptor.unwrap(), PortLimits::default(), stop.clone()));
    tasks.close();
    Member { store, node, members, stop, tasks, _disk: disk }
}

impl Member {
    async fn stop(self) {
        self.store.shutdown().await;
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

fn claim(key: &str, actor: &str) -> Transaction {
    let mut transaction = Transaction::new(actor);
    transaction.put(Claim {
        kind: ClaimKind::Port,
        key: key.to_owned(),
        owner: DeploymentName::new("d").unwrap(),
        detail: String::new(),
    });
    transaction
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_stores_are_one_over_tls() {
    let authority = Authority::generate("6f0e3a52-58f3-4c0a-b0b5-8a2a7b6d5c4e", 1_790_000_000_000).unwrap();
    let (first, second, third) = (start(&authority, 1).await, start(&authority, 2).await, start(&authority, 3).await);
    let meta = ClusterMeta {
        cluster_id: "6f0e3a52-58f3-4c0a-b0b5-8a2a7b6d5c4e".to_owned(),
        name: "test".to_owned(),
        incarnation: INCARNATION,
        feature_level: 1,
        created_at_ms: 1,
        ipam_pool: "10.199.0.0/16".parse().unwrap(),
        mesh_cidr: "10.198.0.0/16".parse().unwrap(),
        node_down_after_ms: 10_000,
    };
    let mut transaction = Transaction::new("system");
    for member in [&first, &second, &third] {
        transaction.put(member.node.clone());
    }
    first.store.initialise(meta, transaction).await.unwrap();
    for member in [&second, &third] {
        let target = RaftTarget { node_id: member.node.id, address: member.node.cluster_address.clone() };
        first.store.add_learner(target).await.unwrap();
    }
    first.store.change_voters(BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)])).await.unwrap();

    let commit = first.store.propose(claim("tcp/1", "local")).await.unwrap();
    for member in [&second, &third] {
        let view = tokio::time::timeout(PATIENCE, member.store.reached(commit.index)).await.unwrap().unwrap();
        assert!(view.get::<Claim>("port:tcp/1").is_some());
    }

    // A write on a follower goes to the leader, and is in the follower's own view when it returns.
    second.store.propose(claim("tcp/2", "local")).await.unwrap();
    assert!(second.store.view().get::<Claim>("port:tcp/2").is_some());
    assert!(third.store.linearizable_view().await.unwrap().get::<Claim>("port:tcp/2").is_some());

    // The leader judges it again: a node by itself writes its own observations only.
    let refused = second.store.propose(claim("tcp/9", "system")).await;
    assert!(matches!(refused, Err(ProposeError::NotPermitted { .. })), "{refused:?}");

    // What is asked of another daemon arrives there: this one has nothing but a store, and says so.
    let others = OtherDaemons(Some(second.members.clone()));
    let answer = others.status(third.node.clone()).await.unwrap_err();
    assert_eq!(answer.code, ErrorCode::NotSupportedYet, "{answer}");

    let closed = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let away = Node { id: NodeId(9), cluster_address: closed.to_string(), ..first.node.clone() };
    let answer = others.status(away).await.unwrap_err();
    assert_eq!(answer.code, ErrorCode::Unreachable, "{answer:?}");
    assert_eq!(answer.details.get("hostname").map(String::as_str), Some("n1"), "{answer:?}");
    assert!(answer.message.contains("jaco node list"), "{answer}");

    // A leader that stops hands over; the others go on.
    first.stop().await;
    until("a new leader", || {
        [&second, &third].into_iter().find(|member| matches!(member.store.leadership(), Leadership::Leader { .. }))
    })
    .await;
    third.store.propose(claim("tcp/3", "local")).await.unwrap();
    second.store.propose(claim("tcp/4", "local")).await.unwrap();
    second.stop().await;
    third.stop().await;
}
