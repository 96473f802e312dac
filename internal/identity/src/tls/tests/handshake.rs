//! Who gets in, and as whom.

use std::sync::Arc;

use jaco_types::{ErrorCode, NodeId, OperatorName, Role};
use tokio::io::AsyncReadExt;

use super::{Rig, TIMEOUT, connected, echo, handshake};
use crate::fixture::{self, DAY_MS, INCARNATION, START_MS};
use crate::tls::{
    AcceptError, Acceptor, ClientOptions, ConfigError, ConnectError, Connector, CredentialError, ExpectedNode,
    LiveCredential, PeerIdentity, Refusal, Trust,
};
use crate::{Authority, Credential, Fingerprint, ServerOptions};

#[tokio::test]
async fn each_side_knows_the_other_on_each_port() {
    let rig = Rig::new();
    for acceptor in [rig.api(), rig.members()] {
        let credential = rig.node(2, 30);
        let facts = credential.certificate().facts().clone();
        let (mut server, mut client) = connected(&acceptor, &rig.client(Some(credential))).await;
        let expected = PeerIdentity::Node {
            node_id: NodeId(2),
            public_key: facts.public_key,
            incarnation: INCARNATION,
            not_after_ms: START_MS + 30 * DAY_MS,
            expired: false,
        };
        assert_eq!(server.peer(), &expected);
        assert_eq!((client.peer().node_id(), server.peer().node_id()), (Some(NodeId(1)), Some(NodeId(2))));
        assert_eq!(client.authority(), rig.authority.certificate());
        echo(&mut server, &mut client).await;
    }
}

#[tokio::test]
async fn operators_and_strangers_come_in_by_the_api_port() {
    let rig = Rig::new();
    let operator = rig.operator();
    let facts = operator.certificate().facts().clone();
    let (server, _client) = connected(&rig.api(), &rig.client(Some(operator))).await;
    let expected = PeerIdentity::Operator {
        identity: OperatorName::new("ci").unwrap(),
        role: Role::Deployer,
        public_key: facts.public_key,
        serial: facts.serial,
        not_after_ms: facts.not_after_ms,
    };
    assert_eq!(server.peer(), &expected);
    let (mut server, mut client) = connected(&rig.api(), &rig.client(None)).await;
    assert_eq!(server.peer(), &PeerIdentity::None);
    echo(&mut server, &mut client).await;
}

/// With TLS 1.3 the client learns of its refusal at the first read.
async fn refused_by(acceptor: &Acceptor, connector: &Connector) -> Refusal {
    let (server, client) = handshake(acceptor, connector, ExpectedNode::Any).await;
    let read = match client {
        Ok(mut client) => client.read_u8().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    assert!(read.is_err(), "the client goes on: {read:?}");
    match server {
        Err(AcceptError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_members_port_is_for_nodes() {
    let rig = Rig::new();
    assert_eq!(refused_by(&rig.members(), &rig.client(None)).await, Refusal::Missing);
    let operator = refused_by(&rig.members(), &rig.client(Some(rig.operator()))).await;
    assert!(matches!(operator, Refusal::NotANode { .. }), "{operator:?}");
}

/// The same names, another key: what somebody makes who knows all that is public of the cluster.
#[tokio::test]
async fn a_foreign_authority_is_refused_on_both_sides() {
    let rig = Rig::new();
    let foreign = Authority::generate(fixture::CLUSTER, START_MS).unwrap();
    let node = || fixture::credential(&foreign, &fixture::node(&foreign, 2, 30));
    // Neither its own authority in the chain nor a copy of ours helps.
    let (certificate, key) = fixture::node(&foreign, 2, 30);
    let disguised = Credential::new(&certificate, &key, rig.authority.certificate()).unwrap();
    for acceptor in [rig.api(), rig.members()] {
        assert_eq!(refused_by(&acceptor, &rig.client(Some(node()))).await, Refusal::OtherAuthority);
    }
    assert_eq!(refused_by(&rig.api(), &rig.client(Some(disguised))).await, Refusal::OtherAuthority);
    let operator = fixture::credential(&foreign, &fixture::operator(&foreign, "ci"));
    assert_eq!(refused_by(&rig.api(), &rig.client(Some(operator))).await, Refusal::OtherAuthority);

    rig.server.replace(node());
    let (_, client) = handshake(&rig.api(), &rig.client(None), ExpectedNode::Any).await;
    let error = client.unwrap_err();
    assert!(matches!(error, ConnectError::Refused(Refusal::OtherAuthority)), "{error:?}");
    assert_eq!(error.code(), ErrorCode::CaFingerprintMismatch);
}

#[tokio::test]
async fn only_the_expected_node_will_do() {
    let rig = Rig::new();
    let client = rig.client(Some(rig.node(2, 30)));
    let (_, right) = handshake(&rig.members(), &client, ExpectedNode::Only(NodeId(1))).await;
    assert_eq!(right.unwrap().peer().node_id(), Some(NodeId(1)));
    let (server, wrong) = handshake(&rig.members(), &client, ExpectedNode::Only(NodeId(3))).await;
    let expected = Refusal::OtherNode { expected: NodeId(3), found: NodeId(1) };
    assert!(matches!(wrong, Err(ConnectError::Refused(found)) if found == expected));
    assert!(server.is_err());
}

#[tokio::test]
async fn an_operator_is_no_server() {
    let rig = Rig::new();
    rig.server.replace(rig.operator());
    let (_, client) = handshake(&rig.api(), &rig.client(None), ExpectedNode::Any).await;
    assert!(matches!(client, Err(ConnectError::Refused(_))), "{client:?}");
}

#[tokio::test]
async fn an_expired_node_may_only_knock_at_the_api_port() {
    let rig = Rig::new();
    let end = START_MS + 30 * DAY_MS;
    let node = || Some(rig.node(2, 30));
    let expired = |peer: &PeerIdentity| match peer {
        PeerIdentity::Node { expired, .. } => *expired,
        PeerIdentity::Operator { .. } | PeerIdentity::None => panic!("{peer:?}"),
    };
    for (now, is_expired) in [(end, false), (end + 1000, true), (end + 90 * DAY_MS, true)] {
        rig.clock.set(now);
        let (server, _client) = connected(&rig.api(), &rig.client(node())).await;
        assert_eq!(expired(server.peer()), is_expired, "{now}");
        assert_eq!(server.peer().node_id().is_none(), is_expired);
        if is_expired {
            assert_eq!(refused_by(&rig.members(), &rig.client(node())).await, Refusal::Expired);
        }
    }
    rig.clock.set(end + 90 * DAY_MS + 1000);
    assert_eq!(refused_by(&rig.api(), &rig.client(node())).await, Refusal::Expired);
    rig.clock.set(end + 1000);
    assert_eq!(refused_by(&rig.api(), &rig.client(Some(rig.operator()))).await, Refusal::Expired);
    // The grace is for nodes of this cluster only.
    let foreign = fixture::authority();
    let other = fixture::credential(&foreign, &fixture::node(&foreign, 2, 30));
    assert_eq!(refused_by(&rig.api(), &rig.client(Some(other))).await, Refusal::OtherAuthority);
}

#[tokio::test]
async fn a_server_is_refused_outside_its_life() {
    let rig = Rig::new();
    for (now, expected) in [
        (START_MS - DAY_MS, Refusal::NotYetValid),
        (START_MS + 366 * DAY_MS, Refusal::Expired),
        (START_MS + 30 * 365 * DAY_MS, Refusal::Expired),
    ] {
        rig.clock.set(now);
        let (_, client) = handshake(&rig.api(), &rig.client(None), ExpectedNode::Any).await;
        assert!(matches!(&client, Err(ConnectError::Refused(found)) if *found == expected), "{now}: {client:?}");
    }
    rig.clock.set(START_MS - 59 * 60 * 1000);
    connected(&rig.api(), &rig.client(None)).await;
}

#[tokio::test]
async fn a_pinned_client_takes_the_authority_from_the_server() {
    let rig = Rig::new();
    let client = rig.trusting(Trust::Pinned(rig.authority.fingerprint()), None);
    let (mut server, mut stream) = connected(&rig.api(), &client).await;
    assert_eq!(stream.authority(), rig.authority.certificate());
    assert_eq!(stream.peer().node_id(), Some(NodeId(1)));
    echo(&mut server, &mut stream).await;
}

#[tokio::test]
async fn a_pinned_client_tells_the_two_fingerprints() {
    let rig = Rig::new();
    let pinned = Fingerprint::of_der(b"another authority");
    let client = rig.trusting(Trust::Pinned(pinned), Some(rig.operator()));
    let (server, client) = handshake(&rig.api(), &client, ExpectedNode::Any).await;
    assert!(server.is_err());
    let error = client.unwrap_err();
    assert_eq!(error.user_error().code, ErrorCode::CaFingerprintMismatch);
    match error {
        ConnectError::FingerprintMismatch { expected, presented } => {
            assert_eq!((expected, presented), (pinned, Some(rig.authority.fingerprint())));
        }
        other => panic!("{other:?}"),
    }
}

/// The right authority's certificate is public: showing it beside a certificate it did not sign must not help.
#[tokio::test]
async fn a_pinned_client_is_not_fooled_by_a_copied_authority() {
    let rig = Rig::new();
    let foreign = fixture::authority();
    let (certificate, key) = fixture::node(&foreign, 1, 30);
    rig.server.replace(Credential::new(&certificate, &key, rig.authority.certificate()).unwrap());
    let client = rig.trusting(Trust::Pinned(rig.authority.fingerprint()), None);
    let (_, client) = handshake(&rig.api(), &client, ExpectedNode::Any).await;
    assert!(matches!(client, Err(ConnectError::Refused(Refusal::OtherAuthority))), "{client:?}");
    // Pinning a certificate that is no authority's gives nothing either.
    let (leaf, key) = fixture::node(&rig.authority, 1, 30);
    rig.server.replace(Credential::new(&leaf, &key, &leaf).unwrap());
    let client = rig.trusting(Trust::Pinned(leaf.fingerprint()), None);
    let (_, client) = handshake(&rig.api(), &client, ExpectedNode::Any).await;
    assert!(matches!(client, Err(ConnectError::Refused(_))), "{client:?}");
}

#[tokio::test]
async fn a_renewal_is_seen_by_the_next_handshake_and_by_no_open_connection() {
    let rig = Rig::new();
    let (acceptor, live) = (rig.members(), LiveCredential::new(rig.node(2, 30)));
    let connector = Connector::new(ClientOptions {
        trust: Trust::Authority(rig.authority.certificate().clone()),
        credential: Some(Arc::clone(&live)),
        clock: Arc::new(rig.clock.clone()),
        handshake_timeout: TIMEOUT,
    })
    .unwrap();
    let (mut server, mut client) = connected(&acceptor, &connector).await;
    echo(&mut server, &mut client).await;
    let key = |peer: &PeerIdentity| match peer {
        PeerIdentity::Node { public_key, .. } => *public_key,
        PeerIdentity::Operator { .. } | PeerIdentity::None => panic!("{peer:?}"),
    };
    let before = (key(server.peer()), key(client.peer()));
    live.replace(rig.node(2, 60));
    rig.server.replace(rig.node(1, 60));
    echo(&mut server, &mut client).await;
    assert_eq!((key(server.peer()), key(client.peer())), before);

    let (mut new_server, mut new_client) = connected(&acceptor, &connector).await;
    let after = (key(new_server.peer()), key(new_client.peer()));
    assert_eq!(after.0, live.current().certificate().facts().public_key);
    assert_eq!(after.1, rig.server.current().certificate().facts().public_key);
    assert!(after.0 != before.0 && after.1 != before.1);
    echo(&mut new_server, &mut new_client).await;
    echo(&mut server, &mut client).await;
}

#[tokio::test]
async fn what_does_not_belong_together_makes_no_configuration() {
    let rig = Rig::new();
    let ((one, _), (_, other)) = (fixture::node(&rig.authority, 1, 30), fixture::node(&rig.authority, 1, 30));
    let mixed = Credential::new(&one, &other, rig.authority.certificate());
    assert!(matches!(mixed, Err(CredentialError::Mismatch { .. })));
    let options = ServerOptions { authority: one, ..rig.options() };
    assert!(matches!(Acceptor::api(options), Err(ConfigError::NotAnAuthority { .. })));
    let shown = format!("{:?} {:?}", rig.server, rig.api());
    assert!(!shown.to_lowercase().contains("private"), "{shown}");
}
