use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use jaco_controlplane::{Sealing, first_data_key, sign_node};
use jaco_identity::{
    Acceptor, Authority, Certificate, ClientOptions, Connector, ExpectedNode, NodeGrant, PublicKeyHash, RecoveryKey,
    ServerOptions, TlsStream, Trust,
};
use jaco_scheduler::intent::{self, Founding};
use jaco_state::{LocalStore, View};
use jaco_task::{Supervisor, Wake};
use jaco_types::{ClusterMeta, RecoveryRecipient};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

/// 2026-09-21.
const NOW_MS: u64 = 1_790_000_000_000;
const CLUSTER: &str = "5b3c1e9e-6a53-4f0e-8f5f-0a4f6f5d7c11";
const OWN: NodeId = NodeId(1);
/// Life of the certificate that the node begins with: short, as of one that is looked at.
const LIFE: Duration = Duration::from_secs(2 * 3600);

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

fn node(id: u64, address: IpAddr) -> Node {
    Node {
        id: NodeId(id),
        hostname: Hostname::new(format!("n{id}")).unwrap(),
        address: address.to_string(),
        grpc_address: format!("{address}:7000"),
        version: "0".to_owned(),
        joined_at_ms: 1,
        cluster_address: format!("{address}:7001"),
        public_keys: Vec::new(),
        seal_key: String::new(),
        labels: Default::default(),
    }
}

/// A clock that a test moves.
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// Other members that sign, once they are told to.
#[derive(Default)]
struct FakeSigners {
    asked: AtomicUsize,
    authority: Mutex<Option<Authority>>,
}

impl Signers for FakeSigners {
    fn sign<'a>(&'a self, member: &'a Node, request: &'a [u8]) -> BoxFuture<'a, Result<String, String>> {
        assert_ne!(member.id, OWN, "it asks itself");
        self.asked.fetch_add(1, Ordering::Relaxed);
        let authority = self.authority.lock().unwrap();
        let signed = authority.as_ref().map(|authority| {
            let request = CertificateRequest::from_der(request).unwrap();
            sign_node(authority, &request, &node(OWN.0, address(1)), 7, NOW_MS).unwrap().to_pem()
        });
        Box::pin(std::future::ready(signed.ok_or_else(|| "away".to_owned())))
    }
}

/// A member of a founded cluster, with its files.
struct Fixture {
    _disk: tempfile::TempDir,
    clock: Arc<Hand>,
    store: Arc<LocalStore>,
    authority: Authority,
    signers: Arc<FakeSigners>,
    renewal: Renewal,
}

fn fixture() -> Fixture {
    let disk = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hand(AtomicU64::new(NOW_MS)));
    let directory = NodeDirectory::open(disk.path()).unwrap();
    let (key, seal_key) = (directory.pending_key().unwrap(), directory.seal_key().unwrap());
    let authority = Authority::generate(CLUSTER, NOW_MS).unwrap();
    let own = Node {
        public_keys: vec![key.public_key().to_string()],
        seal_key: seal_key.public().to_string(),
        ..node(OWN.0, address(1))
    };
    let request = CertificateRequest::new(&key, &names(&own)).unwrap();
    let grant = NodeGrant {
        node_id: OWN,
        incarnation: 7,
        hostname: own.hostname.clone(),
        addresses: vec![address(1)],
        validity: LIFE,
    };
    let certificate = authority.sign_node(&request, &grant, NOW_MS).unwrap();
    directory.install(&certificate, authority.certificate()).unwrap();
    let store = found(&authority, &own, &seal_key, &clock);
    let signers = Arc::new(FakeSigners::default());
    let renewal = Renewal {
        node: OWN,
        hostname: own.hostname,
        address: address(1),
        data_dir: disk.path().to_owned(),
        credential: LiveCredential::new(Credential::new(&certificate, &key, authority.certificate()).unwrap()),
        enrolment: Enrolment::new(store.clone(), clock.clone(), Sealing::new(OWN, seal_key)),
        signers: signers.clone(),
        store: store.clone(),
        clock: clock.clone(),
    };
    Fixture { _disk: disk, clock, store, authority, signers, renewal }
}

fn names(node: &Node) -> RequestNames {
    RequestNames { hostname: Some(node.hostname.clone()), addresses: vec![address(1)] }
}

/// A store with the cluster that this node founded, and another member.
fn found(
    authority: &Authority,
    own: &Node,
    seal_key: &jaco_identity::SealSecretKey,
    clock: &Arc<Hand>,
) -> Arc<LocalStore> {
    let meta = ClusterMeta {
        cluster_id: CLUSTER.to_owned(),
        name: "test".to_owned(),
        incarnation: 7,
        feature_level: 1,
        created_at_ms: NOW_MS,
        ipam_pool: "10.199.0.0/16".parse().unwrap(),
        mesh_cidr: "10.198.0.0/16".parse().unwrap(),
        node_down_after_ms: 10_000,
    };
    let recovery = RecoveryKey::generate().unwrap().public();
    let (data_key, authority_key) = first_data_key(&meta, authority, OWN, &seal_key.public(), &recovery).unwrap();
    let mut first = intent::init(&View::empty(), meta, own.clone(), "local").unwrap();
    let founding = Founding {
        authority: authority.certificate().to_pem(),
        authority_key,
        data_key,
        recovery: RecoveryRecipient { public_key: recovery.to_string() },
        operator: None,
    };
    intent::found(&mut first, founding, NOW_MS);
    first.put(node(2, address(2)));
    let store = Arc::new(LocalStore::new(clock.clone()));
    store.commit(first).unwrap();
    store
}

impl Fixture {
    async fn pass(&self) -> Result<(), String> {
        self.renewal.clone().pass().await
    }

    fn shown(&self) -> PublicKeyHash {
        self.renewal.credential.current().certificate().facts().public_key
    }

    fn record(&self) -> Node {
        self.store.view().get::<Node>(&OWN.to_string()).unwrap().clone()
    }

    fn rotations(&self) -> usize {
        self.store.view().audit().filter(|event| event.event == "cert_rotated").count()
    }

    /// The moment that the certificate is due.
    fn due(&self) -> u64 {
        let current = self.renewal.credential.current();
        let facts = current.certificate().facts();
        renew_at(facts.not_before_ms, facts.not_after_ms)
    }

    fn set(&self, now_ms: u64) {
        self.clock.0.store(now_ms, Ordering::Relaxed);
    }

    /// A connection of the node with itself, as of two members.
    async fn connect(&self) -> (TlsStream<DuplexStream>, TlsStream<DuplexStream>) {
        let clock = || {
            let clock = self.clock.clone();
            Arc::new(move || clock.now_ms())
        };
        let authority = self.authority.certificate().clone();
        let acceptor = Acceptor::members(ServerOptions {
            authority: authority.clone(),
            credential: self.renewal.credential.clone(),
            clock: clock(),
            handshake_timeout: SIGN,
        });
        let connector = Connector::new(ClientOptions {
            trust: Trust::Authority(authority),
            credential: Some(self.renewal.credential.clone()),
            clock: clock(),
            handshake_timeout: SIGN,
        });
        let (near, far) = tokio::io::duplex(1 << 16);
        let (acceptor, connector) = (acceptor.unwrap(), connector.unwrap());
        let (accepted, connected) =
            tokio::join!(acceptor.accept(far), connector.connect(near, ExpectedNode::Only(OWN)));
        (accepted.unwrap(), connected.unwrap())
    }
}

async fn echo((server, client): &mut (TlsStream<DuplexStream>, TlsStream<DuplexStream>)) {
    client.write_all(b"word").await.unwrap();
    client.flush().await.unwrap();
    let mut heard = [0; 4];
    server.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"word");
}

#[tokio::test]
async fn a_certificate_is_renewed_at_two_thirds_of_its_life_and_open_connections_go_on() {
    let fixture = fixture();
    let first = fixture.shown();
    let mut open = fixture.connect().await;
    echo(&mut open).await;
    fixture.set(fixture.due() - 1);
    fixture.pass().await.unwrap();
    assert_eq!((fixture.shown(), fixture.rotations()), (first, 0), "too early");

    fixture.set(fixture.due());
    fixture.pass().await.unwrap();
    let second = fixture.shown();
    assert_ne!(second, first, "a renewal has a new key");
    assert_eq!(fixture.rotations(), 1);
    assert_eq!(fixture.record().public_keys, [first.to_string(), second.to_string()], "both count for now");
    let installed = fixture.renewal.directory().unwrap().load().unwrap().unwrap();
    assert_eq!(installed.certificate.facts().public_key, second, "what a restart would show");
    echo(&mut open).await;
    echo(&mut fixture.connect().await).await;

    fixture.pass().await.unwrap();
    assert_eq!(fixture.record().public_keys, [second.to_string()], "the old key counts no more");
    let index = fixture.store.view().index();
    fixture.pass().await.unwrap();
    assert_eq!((fixture.shown(), fixture.store.view().index()), (second, index), "nothing is left to do");
    echo(&mut open).await;
}

#[tokio::test]
async fn a_renewal_that_failed_leaves_everything_and_goes_on_with_the_same_key() {
    let fixture = fixture();
    let first = fixture.shown();
    fixture.set(fixture.due());
    fixture.store.fail_next(ProposeError::NoLeader);
    fixture.pass().await.unwrap_err();
    assert_eq!((fixture.shown(), fixture.rotations()), (first, 0));
    let pending = fixture.renewal.directory().unwrap().pending_key().unwrap().public_key();
    // Committed, and the answer was lost: the record has the key already, and the same one is signed again.
    fixture.renewal.enrolment.renew(OWN, &fixture.renewal.request().unwrap()).await.unwrap();
    fixture.pass().await.unwrap();
    assert_eq!((fixture.shown(), fixture.rotations()), (pending, 1));
    assert_eq!(
        fixture.signers.asked.load(Ordering::Relaxed),
        0,
        "nobody else is asked before the certificate has ended"
    );
}

#[test]
fn failures_are_tried_again_soon_and_then_less_often() {
    let waits: Vec<u64> = (1..=8).map(|failures| BACKOFF.delay(failures, 1.0).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60], "each wait twice the one before, up to a minute");
}

#[tokio::test]
async fn the_loop_tries_a_renewal_that_failed_again_before_its_next_tick() {
    let fixture = fixture();
    fixture.set(fixture.due());
    fixture.store.fail_next(ProposeError::NoLeader);
    let supervisor = Supervisor::with_jitter(|| 0.0);
    let (renewal, tries) = (fixture.renewal.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = tries.clone();
    supervisor.spawn_loop(spec("certificate"), Wake::new(), move |_context| {
        counted.fetch_add(1, Ordering::Relaxed);
        renewal.clone().pass()
    });
    let (first, begun) = (fixture.shown(), tokio::time::Instant::now());
    while fixture.shown() == first {
        assert!(begun.elapsed() < TICK / 2, "it waits for the tick");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    supervisor.drain(&["certificate"], SIGN).await;
    assert!(begun.elapsed() >= BACKOFF.initial / 2 && tries.load(Ordering::Relaxed) >= 2, "it does not wait");
}

#[tokio::test]
async fn one_whose_certificate_has_ended_asks_the_others() {
    let fixture = fixture();
    let first = fixture.shown();
    let end = fixture.renewal.credential.current().certificate().facts().not_after_ms;
    fixture.set(end + 1);
    fixture.store.fail_next(ProposeError::NoLeader);
    let error = fixture.pass().await.unwrap_err();
    assert!(error.contains("n2: away"), "{error}");
    assert_eq!((fixture.shown(), fixture.signers.asked.load(Ordering::Relaxed)), (first, 1));

    *fixture.signers.authority.lock().unwrap() =
        Some(Authority::from_pem(&fixture.authority.certificate().to_pem(), &fixture.authority.key_pem()).unwrap());
    fixture.store.fail_next(ProposeError::NoLeader);
    fixture.pass().await.unwrap();
    assert_ne!(fixture.shown(), first);
    let pem = fixture.renewal.credential.current().certificate().to_pem();
    assert!(Certificate::from_pem(&pem).unwrap().facts().not_after_ms > end);
}

#[tokio::test]
async fn an_address_that_the_certificate_does_not_name_is_a_reason_to_renew() {
    let mut fixture = fixture();
    let first = fixture.shown();
    fixture.renewal.address = address(9);
    fixture.pass().await.unwrap();
    assert_eq!(fixture.shown(), first, "not before the cluster knows the node by it");
    let mut moved = jaco_state::Transaction::new("system");
    moved.put(Node { public_keys: vec![first.to_string()], ..node(OWN.0, address(9)) });
    fixture.store.commit(moved).unwrap();
    fixture.pass().await.unwrap();
    assert_ne!(fixture.shown(), first);
    assert!(fixture.renewal.credential.current().certificate().facts().addresses.contains(&address(9)));
    let second = fixture.shown();
    fixture.pass().await.unwrap();
    assert_eq!(fixture.shown(), second);
}

#[tokio::test]
async fn one_that_was_removed_gets_none() {
    let fixture = fixture();
    let mut removed = jaco_state::Transaction::new("system");
    removed.delete::<Node>(OWN.to_string());
    fixture.store.commit(removed).unwrap();
    fixture.set(fixture.due());
    let (first, error) = (fixture.shown(), fixture.pass().await.unwrap_err());
    assert!(error.contains("no member"), "{error}");
    assert_eq!(fixture.shown(), first);
}
