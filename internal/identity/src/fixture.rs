//! One cluster for tests: its authority, nodes and operators, at a time that the test sets.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jaco_types::{Hostname, NodeId, OperatorName, Role};

use crate::{
    Authority, Certificate, CertificateRequest, Credential, NodeGrant, OperatorGrant, PrivateKey, RequestNames,
    WallClock,
};

pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// 2026-01-01.
pub(crate) const START_MS: u64 = 1_767_225_600_000;
pub(crate) const CLUSTER: &str = "5b3c1e9e-6a53-4f0e-8f5f-0a4f6f5d7c11";
pub(crate) const INCARNATION: u64 = 0xfeed;

#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub(crate) fn new() -> TestClock {
        TestClock(Arc::new(AtomicU64::new(START_MS)))
    }

    pub(crate) fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

impl WallClock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) fn authority() -> Authority {
    Authority::generate(CLUSTER, START_MS).unwrap()
}

pub(crate) fn address() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3))
}

pub(crate) fn names() -> RequestNames {
    RequestNames { hostname: Some(Hostname::new("alpha").unwrap()), addresses: vec![address()] }
}

pub(crate) fn grant(node: u64, days: u64) -> NodeGrant {
    NodeGrant {
        node_id: NodeId(node),
        incarnation: INCARNATION,
        hostname: Hostname::new("alpha").unwrap(),
        addresses: vec![address()],
        validity: Duration::from_millis(days * DAY_MS),
    }
}

pub(crate) fn node(authority: &Authority, node: u64, days: u64) -> (Certificate, PrivateKey) {
    let key = PrivateKey::generate().unwrap();
    let request = CertificateRequest::new(&key, &names()).unwrap();
    (authority.sign_node(&request, &grant(node, days), START_MS).unwrap(), key)
}

pub(crate) fn operator(authority: &Authority, identity: &str) -> (Certificate, PrivateKey) {
    let key = PrivateKey::generate().unwrap();
    let request = CertificateRequest::new(&key, &RequestNames::default()).unwrap();
    let grant = OperatorGrant {
        identity: OperatorName::new(identity).unwrap(),
        role: Role::Deployer,
        validity: Duration::from_millis(30 * DAY_MS),
    };
    (authority.sign_operator(&request, &grant, START_MS).unwrap(), key)
}

pub(crate) fn credential(authority: &Authority, of: &(Certificate, PrivateKey)) -> Credential {
    Credential::new(&of.0, &of.1, authority.certificate()).unwrap()
}
