//! What this node is to its cluster: its certificate, its keys, and the record of how it came in.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jaco_identity::{
    Acceptor, Certificate, ClientOptions, Connector, Credential, JoinRecord, LiveCredential, NodeDirectory,
    SealSecretKey, ServerOptions, SystemWallClock, Trust as TrustedAuthority,
};

/// A TLS handshake that takes longer is given up.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(5);

/// The trust of a member. A node that belongs to no cluster has none.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) record: JoinRecord,
    pub(crate) authority: Certificate,
    pub(crate) credential: Arc<LiveCredential>,
    pub(crate) seal_key: SealSecretKey,
}

impl Trust {
    /// Reads what is installed; `None` before the node was initialised or joined.
    ///
    /// # Errors
    /// Files that are damaged or do not belong together, each named.
    pub(crate) fn load(data_dir: &Path) -> anyhow::Result<Option<Trust>> {
        let directory = NodeDirectory::open(data_dir)?;
        let Some(record) = directory.read_join()? else { return Ok(None) };
        let Some(installed) = directory.load()? else { return Ok(None) };
        let credential = Credential::new(&installed.certificate, &installed.key, &installed.authority)
            .context("the node's certificate cannot be used")?;
        Ok(Some(Trust {
            record,
            authority: installed.authority,
            credential: LiveCredential::new(credential),
            seal_key: directory.seal_key()?,
        }))
    }

    fn server_options(&self) -> ServerOptions {
        ServerOptions {
            authority: self.authority.clone(),
            credential: Arc::clone(&self.credential),
            clock: Arc::new(SystemWallClock),
            handshake_timeout: HANDSHAKE,
        }
    }

    /// Takes connections on the API's port.
    pub(crate) fn api_acceptor(&self) -> anyhow::Result<Acceptor> {
        Ok(Acceptor::api(self.server_options())?)
    }

    /// Takes connections on the members' port.
    pub(crate) fn members_acceptor(&self) -> anyhow::Result<Acceptor> {
        Ok(Acceptor::members(self.server_options())?)
    }

    /// Makes connections to other members.
    pub(crate) fn connector(&self) -> anyhow::Result<Connector> {
        Ok(Connector::new(ClientOptions {
            trust: TrustedAuthority::Authority(self.authority.clone()),
            credential: Some(Arc::clone(&self.credential)),
            clock: Arc::new(SystemWallClock),
            handshake_timeout: HANDSHAKE,
        })?)
    }
}
