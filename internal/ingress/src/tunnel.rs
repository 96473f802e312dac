//! A connection that has left HTTP: WebSocket and other upgrades.

use std::sync::Arc;

use http::Response;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use crate::client::ClientConnection;
use crate::headers;
use crate::response_body::ResponseBody;
use crate::upstream::InFlight;

/// Passes the upstream's consent on and joins the two connections once both have switched. The tunnel counts as in flight for its
/// upstream, and as a connection of its client, until either side ends it.
pub(crate) fn switch(
    client: &Arc<ClientConnection>,
    client_side: OnUpgrade,
    mut answer: Response<Incoming>,
    target: InFlight,
) -> Response<ResponseBody> {
    let upstream_side = hyper::upgrade::on(&mut answer);
    let protocol = answer.headers_mut().remove(UPGRADE);
    headers::clean_response(answer.headers_mut());
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        answer.headers_mut().insert(UPGRADE, protocol);
    }
    let connection = Arc::clone(client);
    client.worker.clients.spawn(async move {
        let joined = async {
            let (client_side, upstream_side) = tokio::try_join!(client_side, upstream_side)?;
            let (mut client_side, mut upstream_side) = (TokioIo::new(client_side), TokioIo::new(upstream_side));
            copy_bidirectional(&mut client_side, &mut upstream_side).await?;
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        };
        if let Err(error) = joined.await {
            tracing::debug!(error, "tunnel ended");
        }
        drop(target);
        drop(connection);
    });
    answer.map(|_| ResponseBody::empty())
}
