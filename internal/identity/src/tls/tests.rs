//! Both sides over an in-memory pipe, and over bytes that are not TLS.

mod handshake;
mod hostile;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{
    AcceptError, Acceptor, ClientOptions, ConnectError, Connector, Credential, ExpectedNode, LiveCredential,
    ServerOptions, TlsStream, Trust,
};
use crate::authority::Authority;
use crate::fixture::{self, TestClock};

pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

/// A server (node 1) of a cluster.
pub(super) struct Rig {
    pub(super) authority: Authority,
    pub(super) clock: TestClock,
    pub(super) server: Arc<LiveCredential>,
}

pub(super) type Outcome = (Result<TlsStream<DuplexStream>, AcceptError>, Result<TlsStream<DuplexStream>, ConnectError>);

impl Rig {
    pub(super) fn new() -> Rig {
        let authority = fixture::authority();
        let server = LiveCredential::new(fixture::credential(&authority, &fixture::node(&authority, 1, 365)));
        Rig { authority, clock: TestClock::new(), server }
    }

    pub(super) fn options(&self) -> ServerOptions {
        ServerOptions {
            authority: self.authority.certificate().clone(),
            credential: Arc::clone(&self.server),
            clock: Arc::new(self.clock.clone()),
            handshake_timeout: TIMEOUT,
        }
    }

    pub(super) fn api(&self) -> Acceptor {
        Acceptor::api(self.options()).unwrap()
    }

    pub(super) fn members(&self) -> Acceptor {
        Acceptor::members(self.options()).unwrap()
    }

    pub(super) fn node(&self, node: u64, days: u64) -> Credential {
        fixture::credential(&self.authority, &fixture::node(&self.authority, node, days))
    }

    pub(super) fn operator(&self) -> Credential {
        fixture::credential(&self.authority, &fixture::operator(&self.authority, "ci"))
    }

    pub(super) fn client(&self, credential: Option<Credential>) -> Connector {
        self.trusting(Trust::Authority(self.authority.certificate().clone()), credential)
    }

    pub(super) fn trusting(&self, trust: Trust, credential: Option<Credential>) -> Connector {
        Connector::new(ClientOptions {
            trust,
            credential: credential.map(LiveCredential::new),
            clock: Arc::new(self.clock.clone()),
            handshake_timeout: TIMEOUT,
        })
        .unwrap()
    }
}

pub(super) async fn handshake(acceptor: &Acceptor, connector: &Connector, expected: ExpectedNode) -> Outcome {
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::join!(acceptor.accept(far), connector.connect(near, expected))
}

/// Both sides of a handshake that must succeed.
pub(super) async fn connected(
    acceptor: &Acceptor,
    connector: &Connector,
) -> (TlsStream<DuplexStream>, TlsStream<DuplexStream>) {
    let (server, client) = handshake(acceptor, connector, ExpectedNode::Any).await;
    (server.unwrap(), client.unwrap())
}

/// A byte there and a byte back.
pub(super) async fn echo(server: &mut TlsStream<DuplexStream>, client: &mut TlsStream<DuplexStream>) {
    one_byte(client, server).await;
    one_byte(server, client).await;
}

async fn one_byte(from: &mut TlsStream<DuplexStream>, to: &mut TlsStream<DuplexStream>) {
    from.write_all(b"x").await.unwrap();
    from.flush().await.unwrap();
    assert_eq!(to.read_u8().await.unwrap(), b'x');
}
