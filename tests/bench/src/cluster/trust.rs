//! Certificates for members and clients of both kinds of cluster, made by the product's own authority.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jaco_controlplane::sign_node;
use jaco_identity::{
    Authority, Certificate, CertificateRequest, ClientOptions, Connector, Credential, LiveCredential, PrivateKey,
    RequestNames, SystemWallClock, Trust as TrustedAuthority, WallClock,
};
use jaco_types::{Hostname, Node, NodeId};

/// UUID of the cluster that is measured.
pub(super) const CLUSTER: &str = "0b1f6a3e-3c1d-4d55-9a51-52d1f7a6c0de";
/// Its life.
pub(super) const INCARNATION: u64 = 0xbe9c;
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The authority of one cluster.
pub(super) struct Trust(Authority);

/// A node's record with what proves that it is that node.
pub(super) struct Identity {
    pub(super) node: Node,
    pub(super) certificate: Certificate,
    pub(super) key: PrivateKey,
}

impl Trust {
    pub(super) fn new() -> anyhow::Result<Trust> {
        Ok(Trust(Authority::generate(CLUSTER, SystemWallClock.now_ms())?))
    }

    /// A node on a loopback address.
    pub(super) fn node(&self, number: u64, address: SocketAddr) -> anyhow::Result<Identity> {
        let key = PrivateKey::generate()?;
        let hostname = Hostname::new(format!("n{number}"))?;
        let names = RequestNames { hostname: Some(hostname.clone()), addresses: vec![address.ip()] };
        let request = CertificateRequest::new(&key, &names)?;
        let node = Node {
            id: NodeId(number),
            hostname,
            address: address.ip().to_string(),
            grpc_address: address.to_string(),
            cluster_address: address.to_string(),
            public_keys: vec![key.public_key().to_string()],
            seal_key: String::new(),
            version: "bench".to_owned(),
            joined_at_ms: 1,
            labels: BTreeMap::new(),
        };
        let signed = sign_node(&self.0, &request, &node, INCARNATION, SystemWallClock.now_ms());
        let certificate = signed.map_err(|error| anyhow::anyhow!("no certificate: {}", error.message))?;
        Ok(Identity { node, certificate, key })
    }

    /// Writes `ca.crt`, `node.crt` and `node.key` into a folder that only this user can enter.
    pub(super) fn write(&self, identity: &Identity, folder: &Path) -> anyhow::Result<()> {
        std::fs::write(folder.join("ca.crt"), self.0.certificate().to_pem())?;
        std::fs::write(folder.join("node.crt"), identity.certificate.to_pem())?;
        std::fs::write(folder.join("node.key"), identity.key.to_pem().as_bytes())?;
        Ok(())
    }

    /// Makes connections as this node.
    pub(super) fn connector(&self, identity: &Identity) -> anyhow::Result<Connector> {
        let credential = Credential::new(&identity.certificate, &identity.key, self.0.certificate())?;
        connector(self.0.certificate(), LiveCredential::new(credential))
    }
}

/// Makes connections with a node's credential.
pub(super) fn connector(authority: &Certificate, credential: Arc<LiveCredential>) -> anyhow::Result<Connector> {
    Ok(Connector::new(ClientOptions {
        trust: TrustedAuthority::Authority(authority.clone()),
        credential: Some(credential),
        clock: Arc::new(SystemWallClock),
        handshake_timeout: HANDSHAKE_TIMEOUT,
    })?)
}
