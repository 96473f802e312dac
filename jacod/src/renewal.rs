//! The loop that renews this node's certificate at two thirds of its life, with a new key, without a restart or a dropped connection; and
//! before that when the node is to be found at an address that the certificate does not name.
//!
//! A member signs for itself, as every member can. One whose certificate has ended while it was off reaches nobody by its own store: it
//! asks the others on their API's port, which hear it for that one call.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jaco_client::Members;
use jaco_controlplane::{Enrolment, confirm_key};
use jaco_identity::{CertificateRequest, Credential, Facts, LiveCredential, NodeDirectory, RequestNames, renew_at};
use jaco_proto::v1;
use jaco_state::{BoxFuture, Clock, ProposeError, Store};
use jaco_task::{Backoff, LoopSpec};
use jaco_types::{Hostname, Node, NodeId};

/// Whether the certificate is to be renewed is looked at this often.
const TICK: Duration = Duration::from_secs(60);
/// A renewal that failed is tried again after this time at first, and at last with each tick: there is a third of a life to do it in.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), TICK);
/// A member that does not sign within this time is passed over.
const SIGN: Duration = Duration::from_secs(10);

/// How the loop runs under this name.
pub(crate) fn spec(name: &str) -> LoopSpec {
    LoopSpec::new(name, TICK).backoff(BACKOFF)
}

/// Other members, as they are asked for a certificate.
pub(crate) trait Signers: Send + Sync + 'static {
    /// A new certificate for this request (DER), PEM, from this member.
    fn sign<'a>(&'a self, member: &'a Node, request: &'a [u8]) -> BoxFuture<'a, Result<String, String>>;
}

impl Signers for Members {
    fn sign<'a>(&'a self, member: &'a Node, request: &'a [u8]) -> BoxFuture<'a, Result<String, String>> {
        let request = v1::SignNodeCertRequest { certificate_request: request.to_vec() };
        Box::pin(async move {
            let signed = Members::sign(self, member.id, &member.grpc_address, request, SIGN).await;
            signed.map(|answer| answer.certificate).map_err(|error| error.to_string())
        })
    }
}

/// What the loop works with.
#[derive(Clone)]
pub(crate) struct Renewal {
    pub(crate) node: NodeId,
    pub(crate) hostname: Hostname,
    pub(crate) address: std::net::IpAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) credential: Arc<LiveCredential>,
    pub(crate) enrolment: Enrolment,
    pub(crate) signers: Arc<dyn Signers>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Renewal {
    /// Renews the certificate if it is time; then sees to it that the key before it counts no more.
    pub(crate) async fn pass(self) -> Result<(), String> {
        let current = self.credential.current();
        let facts = current.certificate().facts();
        let now_ms = self.clock.now_ms();
        if now_ms >= renew_at(facts.not_before_ms, facts.not_after_ms) || self.has_moved(facts) {
            return self.renew(now_ms > facts.not_after_ms).await;
        }
        // A pass later than the renewal: by then every new handshake has shown the new key.
        let Some(transaction) = confirm_key(&self.store.view(), self.node, &facts.public_key) else { return Ok(()) };
        match self.store.propose(transaction).await {
            // Another write of the record came between: the next pass looks again.
            Ok(_) | Err(ProposeError::Refused { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether the cluster knows this node by an address that its certificate does not name.
    fn has_moved(&self, facts: &Facts) -> bool {
        let view = self.store.view();
        let known = view.get::<Node>(&self.node.to_string());
        known.is_some_and(|node| node.address == self.address.to_string()) && !facts.addresses.contains(&self.address)
    }

    async fn renew(&self, expired: bool) -> Result<(), String> {
        let this = self.clone();
        let request = blocking(move || this.request()).await?;
        let signed = match self.enrolment.renew(self.node, &request).await {
            Ok(signed) => signed,
            Err(error) if expired => {
                let told = self.ask_others(&request).await;
                told.map_err(|others| format!("{error}; the other members do not sign it either: {others}"))?
            }
            Err(error) => return Err(error.to_string()),
        };
        let this = self.clone();
        blocking(move || this.install(&signed)).await?;
        tracing::info!("the node's certificate was renewed");
        Ok(())
    }

    /// Has one of the other members that this node knows of sign.
    async fn ask_others(&self, request: &CertificateRequest) -> Result<String, String> {
        let view = self.store.view();
        let mut refusals = Vec::new();
        for member in view.list::<Node>().filter(|member| member.id != self.node) {
            match self.signers.sign(member, request.der()).await {
                Ok(certificate) => return Ok(certificate),
                Err(reason) => refusals.push(format!("{}: {reason}", member.hostname)),
            }
        }
        Err(if refusals.is_empty() { "there are none".to_owned() } else { refusals.join(", ") })
    }

    fn request(&self) -> Result<CertificateRequest, String> {
        let key = self.directory()?.pending_key().map_err(|error| error.to_string())?;
        let names = RequestNames { hostname: Some(self.hostname.clone()), addresses: vec![self.address] };
        CertificateRequest::new(&key, &names).map_err(|error| error.to_string())
    }

    fn install(&self, certificate: &str) -> Result<(), String> {
        let directory = self.directory()?;
        let text = |error: &dyn std::error::Error| error.to_string();
        let known = directory.load().map_err(|error| text(&error))?.ok_or("there is no certificate to renew")?;
        let certificate = jaco_identity::Certificate::from_pem(certificate).map_err(|error| text(&error))?;
        directory.install(&certificate, &known.authority).map_err(|error| text(&error))?;
        let installed = directory.load().map_err(|error| text(&error))?.ok_or("the certificate was not installed")?;
        let credential = Credential::new(&installed.certificate, &installed.key, &installed.authority);
        self.credential.replace(credential.map_err(|error| text(&error))?);
        Ok(())
    }

    fn directory(&self) -> Result<NodeDirectory, String> {
        NodeDirectory::open(&self.data_dir).map_err(|error| error.to_string())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}
