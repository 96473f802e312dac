//! Joining: the one call that is made with nothing but a token.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use jaco_identity::{Certificate, ClientOptions, Connector, ExpectedNode, JoinToken, SystemWallClock, Trust};
use jaco_proto::v1;
use jaco_types::{ErrorCode, UserError};
use tokio::net::TcpStream;
use tonic::transport::Endpoint as ChannelEndpoint;
use v1::cluster_client::ClusterClient;

use crate::Deadline;
use crate::remote::handshake_error;

/// A TCP connection comes about within this time, or the address is wrong or shut off.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// So does a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the member at `peer` (`host:port` of its API) to let this node join. The token's secret is put into the request here, after
/// the member has proved that it belongs to the authority whose fingerprint the token carries. The authority's certificate comes back
/// with the answer.
///
/// # Errors
/// `ca_fingerprint_mismatch` before anything secret was sent; `unreachable`; `outcome_unknown` when the answer did not come, and
/// joining again with the same token and key is safe; and what the member answers.
pub async fn join(
    peer: &str,
    token: &JoinToken,
    mut request: v1::JoinRequest,
    deadline: Deadline,
) -> Result<(v1::JoinResponse, Certificate), UserError> {
    let unreachable = |reason: String| {
        let message =
            format!("{peer} cannot be reached ({reason}): --peer is host:port of a member's API, port 7000 by default");
        UserError::new(ErrorCode::Unreachable, message).with("peer", peer)
    };
    let connector = Connector::new(ClientOptions {
        trust: Trust::Pinned(token.fingerprint()),
        credential: None,
        clock: Arc::new(SystemWallClock),
        handshake_timeout: HANDSHAKE_TIMEOUT,
    })
    .map_err(|error| unreachable(error.to_string()))?;
    let tcp = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(peer)).await;
    let tcp = tcp.map_err(|_| unreachable(format!("no connection within {CONNECT_TIMEOUT:?}")))?;
    let tcp = tcp.map_err(|error| unreachable(error.to_string()))?;
    let connected = connector.connect(tcp, ExpectedNode::Any).await;
    let stream = connected.map_err(|error| handshake_error(peer, &error).with("peer", peer))?;
    let authority = stream.authority().clone();
    let mut once = Some(stream);
    let open = tower::service_fn(move |_| {
        let stream = once.take().map(TokioIo::new);
        async move { stream.ok_or_else(|| std::io::Error::other("the connection was used already")) }
    });
    let channel = ChannelEndpoint::from_static("http://node.jaco.internal").connect_with_connector(open).await;
    let channel = channel.map_err(|error| unreachable(error.to_string()))?;
    request.secret = token.secret().reveal().to_string();
    let lost = |reason: String| {
        UserError::new(
            ErrorCode::OutcomeUnknown,
            format!("no answer from {peer}: joining again with the same token is safe until it expires"),
        )
        .with("reason", reason)
    };
    match deadline.limit(ClusterClient::new(channel).join(request)).await {
        Some(Ok(answer)) => Ok((answer.into_inner(), authority)),
        Some(Err(status)) => {
            let error = jaco_proto::from_status(&status);
            Err(match error.code {
                ErrorCode::Unreachable if wants_certificate(&status) => {
                    let text = format!(
                        "{peer} is where members talk to each other: --peer is host:port of a member's API, port 7000 by default"
                    );
                    UserError::new(ErrorCode::Unreachable, text).with("peer", peer)
                }
                ErrorCode::Unreachable => lost(error.message),
                _ => error,
            })
        }
        None => Err(lost("the deadline passed".to_owned())),
    }
}

/// Whether the other side ended the connection as it takes nobody without a certificate: it read no request.
fn wants_certificate(status: &tonic::Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.to_string().contains("CertificateRequired") {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken::parse(&format!("{}.{}", "a".repeat(64), "b".repeat(64))).unwrap()
    }

    /// Accepts one connection and lets `answer` have it.
    async fn refused_by<F: Future<Output = ()>>(answer: impl FnOnce(TcpStream) -> F) -> UserError {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap().to_string();
        let token = token();
        let joining = join(&peer, &token, v1::JoinRequest::default(), Deadline::after(Duration::from_secs(10)));
        let accepting = async {
            let (stream, _) = listener.accept().await.unwrap();
            answer(stream).await;
        };
        let (joined, ()) = tokio::join!(joining, accepting);
        let error = joined.unwrap_err();
        assert!(error.message.contains(&peer), "{error}");
        error
    }

    #[tokio::test]
    async fn a_node_without_a_cluster_is_told_as_what_it_may_be() {
        let error = refused_by(|stream| async move { drop(stream) }).await;
        assert_eq!(error.code, ErrorCode::Unreachable);
        for part in ["belongs to no cluster", "jaco cluster status", "7000"] {
            assert!(error.message.contains(part), "{part:?} is not in {error}");
        }
    }

    #[tokio::test]
    async fn a_port_that_speaks_something_else_is_told_as_such() {
        use tokio::io::AsyncWriteExt;
        let error = refused_by(|mut stream| async move {
            stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
        })
        .await;
        assert_eq!(error.code, ErrorCode::Unreachable);
        assert!(error.message.contains("7000"), "{error}");
    }

    #[tokio::test]
    async fn the_members_port_is_told_as_such() {
        use jaco_identity::{
            Acceptor, Authority, CertificateRequest, Credential, LiveCredential, NodeGrant, PrivateKey, RequestNames,
            ServerOptions, WallClock,
        };
        let now_ms = SystemWallClock.now_ms();
        let authority = Authority::generate("c0ffee", now_ms).unwrap();
        let key = PrivateKey::generate().unwrap();
        let grant = NodeGrant {
            node_id: jaco_types::NodeId(1),
            incarnation: 1,
            hostname: jaco_types::Hostname::new("n1").unwrap(),
            addresses: Vec::new(),
            validity: Duration::from_secs(3600),
        };
        let request = CertificateRequest::new(&key, &RequestNames::default()).unwrap();
        let certificate = authority.sign_node(&request, &grant, now_ms).unwrap();
        let credential = Credential::new(&certificate, &key, authority.certificate()).unwrap();
        let acceptor = Acceptor::members(ServerOptions {
            authority: authority.certificate().clone(),
            credential: LiveCredential::new(credential),
            clock: Arc::new(SystemWallClock),
            handshake_timeout: Duration::from_secs(5),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap().to_string();
        let token = JoinToken::parse(&format!("{}.{}", "a".repeat(64), authority.fingerprint())).unwrap();
        let joining = join(&peer, &token, v1::JoinRequest::default(), Deadline::after(Duration::from_secs(10)));
        let accepting = async {
            let (stream, _) = listener.accept().await.unwrap();
            assert!(acceptor.unwrap().accept(stream).await.is_err(), "nobody without a certificate comes in");
        };
        let (joined, ()) = tokio::join!(joining, accepting);
        let error = joined.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unreachable, "{error}");
        assert!(error.message.contains("members talk to each other") && error.message.contains("7000"), "{error}");
    }

    #[tokio::test]
    async fn nobody_there_is_told_with_the_reason() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap().to_string();
        drop(listener);
        let deadline = Deadline::after(Duration::from_secs(5));
        let error = join(&peer, &token(), v1::JoinRequest::default(), deadline).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unreachable);
        assert!(error.message.contains(&peer) && error.message.contains("refused"), "{error}");
    }
}
