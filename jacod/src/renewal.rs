//! The loop that renews this node's certificate at two thirds of its life, with a new key, without a restart or a dropped connection.

use std::path::PathBuf;
use std::sync::Arc;

use jaco_controlplane::{Enrolment, confirm_key};
use jaco_identity::{CertificateRequest, Credential, LiveCredential, NodeDirectory, RequestNames, renew_at};
use jaco_state::{Clock, ProposeError, Store};
use jaco_types::{Hostname, NodeId};

/// What the loop works with.
#[derive(Clone)]
pub(crate) struct Renewal {
    pub(crate) node: NodeId,
    pub(crate) hostname: Hostname,
    pub(crate) address: std::net::IpAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) credential: Arc<LiveCredential>,
    pub(crate) enrolment: Enrolment,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Renewal {
    /// Renews the certificate if it is time; then sees to it that the key before it counts no more.
    pub(crate) async fn pass(self) -> Result<(), String> {
        let current = self.credential.current();
        let facts = current.certificate().facts();
        if self.clock.now_ms() >= renew_at(facts.not_before_ms, facts.not_after_ms) {
            return self.renew().await;
        }
        // A pass later than the renewal: by then every new handshake has shown the new key.
        let Some(transaction) = confirm_key(&self.store.view(), self.node, &facts.public_key) else { return Ok(()) };
        match self.store.propose(transaction).await {
            // Another write of the record came between: the next pass looks again.
            Ok(_) | Err(ProposeError::Refused { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn renew(&self) -> Result<(), String> {
        let this = self.clone();
        let request = blocking(move || this.request()).await?;
        let signed = self.enrolment.renew(self.node, &request).await.map_err(|error| error.to_string())?;
        let this = self.clone();
        blocking(move || this.install(&signed)).await?;
        tracing::info!("the node's certificate was renewed");
        Ok(())
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
