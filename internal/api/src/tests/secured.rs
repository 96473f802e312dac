//! A server with the API's TLS port: a cluster with an authority of its own, this node's certificate, and whoever wants to come in.

use std::net::SocketAddr;

use jaco_client::{Choice, Client, Endpoint, RemoteChoice, secrets};
use jaco_controlplane::{Enrolment, Sealing, first_data_key, sign_node};
use jaco_identity::{
    Acceptor, Authority, CertificateRequest, ClientOptions, Connector, Credential, ExpectedNode, LiveCredential,
    PrivateKey, RecoveryKey, RequestNames, SealSecretKey, ServerOptions, SystemWallClock, TlsStream, Trust,
};
use jaco_state::{Clock, SystemClock};
use jaco_types::{OperatorName, RecoveryRecipient, Role, Token};
use tokio::net::{TcpListener, TcpStream};

use super::*;

pub(super) struct Secured {
    pub(super) store: TestStore,
    pub(super) authority: Arc<Authority>,
    pub(super) address: SocketAddr,
    pub(super) folder: tempfile::TempDir,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<Result<(), ServeError>>,
}

/// A node's credential, as its join would have given it.
fn node_credential(authority: &Authority, store: &TestStore) -> Credential {
    let key = PrivateKey::generate().unwrap();
    let csr = CertificateRequest::new(&key, &RequestNames::default()).unwrap();
    let mut node = jaco_testkit::ready_node(1, "node-a").node;
    node.public_keys = vec![key.public_key().to_string()];
    let now_ms = SystemClock::default().now_ms();
    let certificate = sign_node(authority, &csr, &node, jaco_testkit::INCARNATION, now_ms).unwrap();
    store
        .write(|transaction| {
            transaction.put(node);
        })
        .unwrap();
    Credential::new(&certificate, &key, authority.certificate()).unwrap()
}

impl Secured {
    pub(super) async fn start(ports: PortLimits, handshake: Duration) -> Secured {
        let store = cluster_store(&["node-a"]);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let authority = Arc::new(Authority::generate(jaco_testkit::CLUSTER_ID, clock.now_ms()).unwrap());
        let secret = SealSecretKey::generate().unwrap();
        let recovery = RecoveryKey::generate().unwrap().public();
        let meta = store.view().cluster().unwrap().clone();
        let (data_key, key) = first_data_key(&meta, &authority, NodeId(1), &secret.public(), &recovery).unwrap();
        store
            .write(|transaction| {
                transaction
                    .put(data_key)
                    .put(jaco_types::Authority { certificate: authority.certificate().to_pem(), key })
                    .put(RecoveryRecipient { public_key: recovery.to_string() });
            })
            .unwrap();
        let acceptor = Acceptor::api(ServerOptions {
            authority: authority.certificate().clone(),
            credential: LiveCredential::new(node_credential(&authority, &store)),
            clock: Arc::new(SystemWallClock),
            handshake_timeout: handshake,
        })
        .unwrap();
        let fixed = Arc::new(Fixed { store: Some(store.store.clone()), ..Fixed::default() });
        let mut parts = parts(&store.store, &fixed, Limits::default());
        parts.enrolment = Some(Enrolment::new(store.store.clone(), clock, Sealing::new(NodeId(1), secret)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        #[allow(clippy::disallowed_methods)] // The test owns it, and awaits it in `end`.
        let serving = tokio::spawn(serve_tls(Api::new(parts), listener, acceptor, ports, stop.clone()));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), authority.certificate().to_pem()).unwrap();
        Secured { store, authority, address, folder, stop, serving }
    }

    pub(super) async fn cluster() -> Secured {
        Secured::start(PortLimits::default(), Duration::from_secs(5)).await
    }

    /// An identity of this role with a new token.
    pub(super) fn operator(&self, name: &str, role: Role) -> secrets::OperatorToken {
        let token = secrets::new_token().unwrap();
        self.store
            .write(|transaction| {
                transaction.put(Token {
                    identity: OperatorName::new(name).unwrap(),
                    hash: token.hash().to_string(),
                    role,
                    allows_privileged: false,
                    issued_at_ms: 1,
                    revoked_at_ms: None,
                    certificate_keys: Default::default(),
                });
            })
            .unwrap();
        token
    }

    /// Marks an identity as revoked, as another node would have.
    pub(super) fn revoke(&self, name: &str) {
        let mut record = self.store.view().get::<Token>(name).unwrap().clone();
        record.revoked_at_ms = Some(7);
        self.store
            .write(|transaction| {
                transaction.put(record);
            })
            .unwrap();
    }

    pub(super) fn remote(&self) -> RemoteChoice {
        RemoteChoice {
            servers: self.address.to_string(),
            ca_cert: Some(self.folder.path().join("ca.crt")),
            ..RemoteChoice::default()
        }
    }

    /// The real client, with a bearer token.
    pub(super) async fn client(&self, token: &secrets::OperatorToken) -> Client {
        connect(RemoteChoice { token: Some(token.reveal().to_string()), ..self.remote() }).await.unwrap()
    }

    /// A verified connection with nothing but TLS on it.
    pub(super) async fn tls(&self) -> TlsStream<TcpStream> {
        let connector = Connector::new(ClientOptions {
            trust: Trust::Authority(self.authority.certificate().clone()),
            credential: None,
            clock: Arc::new(SystemWallClock),
            handshake_timeout: Duration::from_secs(5),
        })
        .unwrap();
        connector.connect(TcpStream::connect(self.address).await.unwrap(), ExpectedNode::Any).await.unwrap()
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.serving).await.unwrap().unwrap().unwrap();
    }
}

pub(super) async fn connect(remote: RemoteChoice) -> Result<Client, UserError> {
    Client::connect(Endpoint::choose(&Choice { remote: Some(remote), socket: None })?).await
}
