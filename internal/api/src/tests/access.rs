//! Every call, every role, every transport: allowed or refused.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use jaco_identity::{OperatorToken, PeerIdentity};
use jaco_state::Leadership;
use jaco_types::{Node, OperatorName, Role, Token, Tombstone};

use crate::access::{self, Rule};
use crate::caller::{Caller, Peer};
use crate::guard::Guard;
use crate::tls_listener::TlsPeer;

use super::*;

/// Which columns allow a call. `viewer`, `deployer` and `admin` hold for bearer tokens and for client certificates; `cut off` is an admin's
/// token on a node without a leader.
const TABLE: &str = "
                        socket viewer deployer admin node stranger cut-off
Audit/Query             yes    yes    yes      yes   -    -        yes
Cluster/Backup          yes    -      -        yes   -    -        -
Cluster/Init            yes    -      -        -     -    -        -
Cluster/IssueJoinToken  yes    -      -        yes   -    -        -
Cluster/Join            yes    yes    yes      yes   yes  yes      yes
Cluster/NodeDrain       yes    -      -        yes   -    -        -
Cluster/NodeJoin        yes    -      -        -     -    -        -
Cluster/NodeList        yes    yes    yes      yes   -    -        yes
Cluster/NodeProgress    yes    yes    yes      yes   -    -        yes
Cluster/NodeRemove      yes    -      -        yes   -    -        -
Cluster/NodeUncordon    yes    -      -        yes   -    -        -
Cluster/RotateKey       yes    -      -        yes   -    -        -
Cluster/Status          yes    yes    yes      yes   yes  yes      yes
Deploy/Apply            yes    -      yes      yes   -    -        -
Deploy/Delete           yes    -      yes      yes   -    -        -
Deploy/GetDeployment    yes    yes    yes      yes   -    -        yes
Deploy/GetDeployments   yes    yes    yes      yes   -    -        yes
Deploy/GetReplicas      yes    yes    yes      yes   -    -        yes
Deploy/GetRoute         yes    yes    yes      yes   -    -        yes
Deploy/GetRoutes        yes    yes    yes      yes   -    -        yes
Deploy/History          yes    yes    yes      yes   -    -        yes
Deploy/Logs             yes    yes    yes      yes   -    -        -
Deploy/Rollback         yes    -      yes      yes   -    -        -
Deploy/Status           yes    yes    yes      yes   -    -        yes
Internal/Diagnose       -      -      -        -     -    -        -
Internal/Logs           -      -      -        -     -    -        -
Internal/NodeStatus     -      -      -        -     -    -        -
Internal/Peer           -      -      -        -     -    -        -
Internal/PeerStream     -      -      -        -     -    -        -
Internal/Session        -      -      -        -     -    -        -
Internal/SetLogLevel    -      -      -        -     -    -        -
Internal/SignNodeCert   -      -      -        -     yes  -        -
Node/Diagnose           yes    -      -        yes   -    -        -
Node/SetLogLevel        yes    -      -        yes   -    -        -
Node/Status             yes    yes    yes      yes   -    -        yes
Tokens/Issue            yes    -      -        yes   -    -        -
Tokens/List             yes    -      -        yes   -    -        -
Tokens/Revoke           yes    -      -        yes   -    -        -
Watch/Subscribe         yes    yes    yes      yes   -    -        yes
";

/// By call, by column: whether it is allowed.
fn table() -> BTreeMap<String, BTreeMap<&'static str, bool>> {
    let mut lines =
        TABLE.lines().filter(|line| !line.is_empty()).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let columns = lines.next().unwrap();
    lines
        .map(|row| {
            assert_eq!(row.len(), columns.len() + 1, "{row:?}");
            let cells = columns.iter().copied().zip(row[1..].iter().map(|cell| *cell == "yes")).collect();
            (format!("/jaco.v1.{}", row[0]), cells)
        })
        .collect()
}

const KEY: &str = "aa";

fn key(digits: &str) -> String {
    digits.repeat(32)
}

/// A cluster with a token and a client certificate of each role, named like it.
fn cluster() -> (TestStore, BTreeMap<Role, OperatorToken>) {
    let store = cluster_store(&["node-a"]);
    let mut tokens = BTreeMap::new();
    store
        .write(|transaction| {
            for role in Role::ALL {
                let token = OperatorToken::generate().unwrap();
                transaction.put(Token {
                    identity: OperatorName::new(role.as_str()).unwrap(),
                    hash: token.hash().to_string(),
                    role: *role,
                    allows_privileged: false,
                    issued_at_ms: 1,
                    revoked_at_ms: None,
                    certificate_keys: [key(KEY)].into(),
                });
                tokens.insert(*role, token);
            }
        })
        .unwrap();
    (store, tokens)
}

fn guard(store: &TestStore) -> Guard {
    Guard::with_clock(store.store.clone(), Arc::new(Fixed::default()), store.clock.clone())
}

fn request(path: &str) -> http::Request<()> {
    http::Request::builder().uri(format!("http://jaco.internal{path}")).body(()).unwrap()
}

fn over_socket(path: &str) -> http::Request<()> {
    let mut request = request(path);
    request.extensions_mut().insert(Peer { has_credentials: true, over_limit: None });
    request
}

fn over_tls(path: &str, identity: PeerIdentity, bearer: Option<&OperatorToken>) -> http::Request<()> {
    let mut request = request(path);
    request.extensions_mut().insert(TlsPeer { identity: Arc::new(identity), address: IpAddr::V4(Ipv4Addr::LOCALHOST) });
    if let Some(token) = bearer {
        let value = format!("Bearer {}", token.reveal().as_str());
        request.headers_mut().insert("authorization", value.parse().unwrap());
    }
    request
}

fn operator(name: &str, digits: &str, not_after_ms: u64) -> PeerIdentity {
    PeerIdentity::Operator {
        identity: OperatorName::new(name).unwrap(),
        // What the certificate said when it was signed counts for nothing.
        role: Role::Admin,
        public_key: key(digits).parse().unwrap(),
        serial: "01".to_owned(),
        not_after_ms,
    }
}

fn node(id: u64, digits: &str, expired: bool) -> PeerIdentity {
    PeerIdentity::Node {
        node_id: NodeId(id),
        public_key: key(digits).parse().unwrap(),
        incarnation: jaco_testkit::INCARNATION,
        not_after_ms: u64::MAX,
        expired,
    }
}

/// The code of a refusal, `None` when the call may go on.
fn refusal(guard: &Guard, request: &http::Request<()>) -> Option<ErrorCode> {
    guard.admit(request).err().map(|status| from_status(&status).code)
}

#[test]
fn every_call_there_is_has_a_rule_and_a_row() {
    let rows = table();
    let mut calls: Vec<&str> = jaco_proto::CALLS.iter().map(|(path, _)| *path).collect();
    calls.sort_unstable();
    assert_eq!(access::CALLS.iter().map(|(path, _)| *path).collect::<Vec<_>>(), calls, "the table of rules, in order");
    assert_eq!(rows.keys().map(String::as_str).collect::<Vec<_>>(), calls, "the table of this test");
    let mut streams: Vec<&str> = jaco_proto::CALLS
        .iter()
        .filter(|(path, streams)| *streams && access::rule(path) != Some(Rule::Nobody))
        .map(|(path, _)| *path)
        .collect();
    streams.sort_unstable();
    assert_eq!(access::STREAMS, streams, "what is judged again while it goes on");
}

#[test]
fn every_call_by_every_role_over_every_transport() {
    let (store, tokens) = cluster();
    let guard = guard(&store);
    let mut wrong = Vec::new();
    for (path, columns) in table() {
        let mut check = |column: &str, how: &str, request: http::Request<()>| {
            let refused = refusal(&guard, &request);
            if refused.is_none() != columns[column] {
                wrong.push(format!("{path} by {column} ({how}): {refused:?}"));
            }
            refused
        };
        check("socket", "socket", over_socket(&path));
        for role in Role::ALL {
            let column = role.as_str();
            check(column, "bearer", over_tls(&path, PeerIdentity::None, Some(&tokens[role])));
            check(column, "certificate", over_tls(&path, operator(column, KEY, u64::MAX), None));
            // Whose certificate it came over makes no difference to a token.
            check(column, "bearer over a node's connection", over_tls(&path, node(1, KEY, false), Some(&tokens[role])));
        }
        check("node", "certificate", over_tls(&path, node(7, KEY, false), None));
        let refused = check("stranger", "nothing", over_tls(&path, PeerIdentity::None, None));
        let denied = [ErrorCode::TokenInvalid, ErrorCode::PermissionDenied];
        assert!(refused.is_none_or(|code| denied.contains(&code)), "{path}: {refused:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_node_without_a_leader_answers_operators_reads_only() {
    let (store, tokens) = cluster();
    store.set_leadership(Leadership::Follower { leader: None });
    let guard = guard(&store);
    for (path, columns) in table() {
        let by_token = refusal(&guard, &over_tls(&path, PeerIdentity::None, Some(&tokens[&Role::Admin])));
        assert_eq!(by_token.is_none(), columns["cut-off"], "{path}: {by_token:?}");
        let by_certificate = refusal(&guard, &over_tls(&path, operator("admin", KEY, u64::MAX), None));
        assert_eq!(by_certificate, by_token, "{path}");
        if columns["admin"] && !columns["cut-off"] {
            assert_eq!(by_token, Some(ErrorCode::NoLeader), "{path}");
        }
        assert_eq!(refusal(&guard, &over_socket(&path)).is_none(), columns["socket"], "{path} by the socket");
    }
    store.set_leadership(Leadership::Follower { leader: Some(NodeId(9)) });
    let path = "/jaco.v1.Deploy/Apply";
    assert_eq!(refusal(&guard, &over_tls(path, PeerIdentity::None, Some(&tokens[&Role::Admin]))), None);
}

/// A node that was cut off goes on naming the leader it last followed.
#[test]
fn a_node_that_has_not_heard_of_a_majority_for_long_counts_as_one_without_a_leader() {
    let (store, tokens) = cluster();
    let fixed = Arc::new(Fixed::default());
    fixed.silence_ms.store(5_001, Ordering::Relaxed);
    store.set_leadership(Leadership::Follower { leader: Some(NodeId(9)) });
    let guard = Guard::with_clock(store.store.clone(), fixed, store.clock);
    for (path, columns) in table() {
        let by_token = refusal(&guard, &over_tls(&path, PeerIdentity::None, Some(&tokens[&Role::Admin])));
        let may_be_new = path == "/jaco.v1.Cluster/Join";
        assert_eq!(by_token.is_none(), columns["cut-off"] && !may_be_new, "{path}: {by_token:?}");
        if columns["admin"] && by_token.is_some() {
            assert_eq!(by_token, Some(ErrorCode::QuorumLost), "{path}");
        }
    }
}

#[test]
fn every_call_that_writes_needs_a_majority() {
    use crate::access::{Need, need};
    let needy: Vec<&str> = access::CALLS
        .iter()
        .filter(|(path, rule)| need(path, *rule) == Need::Majority)
        .map(|(path, _)| path.trim_start_matches("/jaco.v1."))
        .collect();
    let expected = [
        "Cluster/Backup",
        "Cluster/IssueJoinToken",
        "Cluster/Join",
        "Cluster/NodeDrain",
        "Cluster/NodeRemove",
        "Cluster/NodeUncordon",
        "Cluster/RotateKey",
        "Deploy/Apply",
        "Deploy/Delete",
        "Deploy/Rollback",
        "Tokens/Issue",
        "Tokens/Revoke",
    ];
    assert_eq!(needy, expected);
}

#[test]
fn what_is_wrong_with_a_token_has_its_code() {
    let (store, tokens) = cluster();
    let guard = guard(&store);
    let path = "/jaco.v1.Deploy/Status";
    let unknown = OperatorToken::generate().unwrap();
    assert_eq!(refusal(&guard, &over_tls(path, PeerIdentity::None, Some(&unknown))), Some(ErrorCode::TokenInvalid));
    for text in ["", "Bearer", "Bearer ", "Bearer xyz", "Basic YTpi", "bearer  00"] {
        let mut request = over_tls(path, operator("admin", KEY, u64::MAX), None);
        request.headers_mut().insert("authorization", text.parse().unwrap());
        assert_eq!(refusal(&guard, &request), Some(ErrorCode::TokenInvalid), "{text:?}");
    }
    let mut record = store.view().get::<Token>("viewer").unwrap().clone();
    record.revoked_at_ms = Some(5);
    store
        .write(|transaction| {
            transaction.put(record);
        })
        .unwrap();
    let by_token = over_tls(path, PeerIdentity::None, Some(&tokens[&Role::Viewer]));
    assert_eq!(refusal(&guard, &by_token), Some(ErrorCode::TokenRevoked));
    let by_certificate = over_tls(path, operator("viewer", KEY, u64::MAX), None);
    assert_eq!(refusal(&guard, &by_certificate), Some(ErrorCode::TokenRevoked));
}

#[test]
fn what_is_wrong_with_a_certificate_has_its_code() {
    let (store, _) = cluster();
    let guard = guard(&store);
    let path = "/jaco.v1.Deploy/Status";
    let refused = |identity| refusal(&guard, &over_tls(path, identity, None));
    let now_ms = jaco_state::Clock::now_ms(&*store.clock);
    assert_eq!(refused(operator("admin", KEY, now_ms)), None);
    assert_eq!(refused(operator("admin", KEY, now_ms - 1)), Some(ErrorCode::TokenInvalid), "expired");
    assert_eq!(refused(operator("nobody", KEY, u64::MAX)), Some(ErrorCode::TokenInvalid));
    assert_eq!(refused(operator("admin", "bb", u64::MAX)), Some(ErrorCode::TokenRevoked), "of an issue before");
}

#[test]
fn a_node_whose_certificate_ended_may_renew_it_and_a_removed_one_nothing() {
    let (store, _) = cluster();
    let guard = guard(&store);
    let renew = "/jaco.v1.Internal/SignNodeCert";
    let refused = |path, identity| refusal(&guard, &over_tls(path, identity, None));
    assert_eq!(refused(renew, node(7, KEY, true)), None);
    assert_eq!(refused("/jaco.v1.Deploy/Status", node(7, KEY, true)), Some(ErrorCode::PermissionDenied));
    store
        .write(|transaction| {
            let mut member: Node = jaco_testkit::ready_node(8, "node-b").node;
            member.public_keys = vec![key(KEY)];
            let gone = Tombstone {
                node: NodeId(7),
                hostname: Hostname::new("gone").unwrap(),
                public_keys: vec![key(KEY)],
                removed_at_ms: 1,
            };
            transaction.put(member).put(gone);
        })
        .unwrap();
    assert_eq!(refused(renew, node(7, KEY, false)), Some(ErrorCode::NodeRemoved));
    assert_eq!(refused("/jaco.v1.Deploy/Status", node(7, KEY, false)), Some(ErrorCode::NodeRemoved));
    assert_eq!(refused("/jaco.v1.Cluster/Join", node(7, KEY, false)), None, "it may join again");
    assert_eq!(refused(renew, node(8, KEY, false)), None);
    assert_eq!(refused(renew, node(8, "bb", false)), Some(ErrorCode::NodeRemoved), "a key it no longer has");
}

#[test]
fn who_calls_is_told_to_the_handlers() {
    let (store, tokens) = cluster();
    let guard = guard(&store);
    let caller = |request| guard.admit(&request).unwrap().caller;
    let Caller::Known(local) = caller(over_socket("/jaco.v1.Deploy/Apply")) else { panic!("unknown") };
    assert!(&*local.name == "local" && local.local && local.allows_privileged);
    let by_token = over_tls("/jaco.v1.Deploy/Apply", PeerIdentity::None, Some(&tokens[&Role::Deployer]));
    let Caller::Known(deployer) = caller(by_token) else { panic!("unknown") };
    assert_eq!((&*deployer.name, deployer.role, deployer.local), ("deployer", Role::Deployer, false));
    assert!(!deployer.allows_privileged);
    assert_eq!(caller(over_tls("/jaco.v1.Cluster/Status", PeerIdentity::None, None)), Caller::Stranger);
}

#[test]
fn nobody_comes_in_before_there_is_a_cluster_but_by_the_socket() {
    let store = empty_store();
    let guard = guard(&store);
    let path = "/jaco.v1.Deploy/Status";
    let token = OperatorToken::generate().unwrap();
    let uninitialized = Some(ErrorCode::ClusterUninitialized);
    assert_eq!(refusal(&guard, &over_tls(path, PeerIdentity::None, Some(&token))), uninitialized);
    assert_eq!(refusal(&guard, &over_tls(path, operator("admin", KEY, u64::MAX), None)), uninitialized);
    assert_eq!(refusal(&guard, &over_socket("/jaco.v1.Cluster/Init")), None);
    assert_eq!(refusal(&guard, &over_tls("/jaco.v1.Cluster/Status", PeerIdentity::None, None)), None);
}

#[test]
fn a_call_that_there_is_not_is_a_matter_of_versions() {
    let (store, _) = cluster();
    let guard = guard(&store);
    for path in ["/jaco.v1.Deploy/Nothing", "/", "/jaco.v2.Deploy/Status", "/jaco.v1.Deploy/Status/"] {
        assert_eq!(refusal(&guard, &over_socket(path)), Some(ErrorCode::VersionIncompatible), "{path}");
    }
}

#[test]
fn privileged_services_need_the_label_and_the_permission() {
    use crate::caller::Identity;
    use crate::manifest::check_privileges;
    let mut spec = jaco_testkit::deployment_spec("shop", [("web", jaco_testkit::service("web:1", 1))]);
    let may = |local, allows_privileged| Identity { name: "ci".into(), role: Role::Admin, allows_privileged, local };
    check_privileges(&spec, &may(false, false)).unwrap();
    spec.services.values_mut().next().unwrap().container.privileged = true;
    let code = |spec: &_, who: &_| check_privileges(spec, who).unwrap_err().code;
    assert_eq!(code(&spec, &may(true, true)), ErrorCode::ValidationFailed, "no label");
    let labels = &mut spec.services.values_mut().next().unwrap().container.labels;
    labels.insert("jaco.io/allow-privileged".into(), "True".into());
    assert_eq!(code(&spec, &may(true, true)), ErrorCode::ValidationFailed, "the exact text");
    let labels = &mut spec.services.values_mut().next().unwrap().container.labels;
    labels.insert("jaco.io/allow-privileged".into(), "true".into());
    check_privileges(&spec, &may(true, false)).unwrap();
    check_privileges(&spec, &may(false, true)).unwrap();
    let error = check_privileges(&spec, &may(false, false)).unwrap_err();
    assert_eq!((error.code, error.details["service"].as_str()), (ErrorCode::PrivilegeDenied, "web"));
}
