//! Joining: the one call that is made with nothing but a token.

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
    let stream =
        connector.connect(tcp, ExpectedNode::Any).await.map_err(|error| error.user_error().with("peer", peer))?;
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
            Err(if error.code == ErrorCode::Unreachable { lost(error.message) } else { error })
        }
        None => Err(lost("the deadline passed".to_owned())),
    }
}
