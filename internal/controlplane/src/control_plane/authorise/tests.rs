//! Who may have what forwarded: a table.

use jaco_state::{Store, Transaction};
use jaco_testkit::{
    TestStore, claim, cluster_store, deployed, deployment_name, deployment_spec, ready_node, replica_desired,
    replica_observed, route, service,
};
use jaco_types::{Joiner, NetworkName, NodeState, NodeStatus, OperatorName, ReplicaState, SealedValue};

use super::*;

const FROM: NodeId = NodeId(2);
const OTHER: NodeId = NodeId(3);

fn token(name: &str, role: Role, revoked_at_ms: Option<u64>) -> Token {
    Token {
        identity: OperatorName::new(name).unwrap(),
        hash: format!("hash of {name}"),
        role,
        allows_privileged: false,
        issued_at_ms: 1,
        revoked_at_ms,
        certificate_keys: Default::default(),
    }
}

fn join_token(used_by: Option<NodeId>) -> JoinToken {
    let joiner = |node| Joiner { public_key: "key".to_owned(), node, certificate: "PEM".to_owned() };
    let used_by = used_by.map(joiner);
    JoinToken { hash: "j".to_owned(), issued_by: "ops".to_owned(), issued_at_ms: 1, expires_at_ms: 9, used_by }
}

fn data_key(copies: &[u64]) -> DataKey {
    let copies = copies.iter().map(|node| (NodeId(*node).to_string(), format!("for {node}"))).collect();
    DataKey { epoch: 1, copies, recovery: "recovery".to_owned() }
}

fn authority(certificate: &str, epoch: u64) -> Authority {
    Authority { certificate: certificate.to_owned(), key: SealedValue { epoch, bytes: String::new() } }
}

fn subnet(node: NodeId, cidr: &str) -> Subnet {
    let network = NetworkName::new("default").unwrap();
    Subnet { deployment: deployment_name("shop"), network, node, cidr: cidr.parse().unwrap() }
}

fn slot(replica: &ReplicaDesired, owner: NodeId, released: bool) -> ExclusiveSlot {
    ExclusiveSlot { replica: replica.id.clone(), owner, epoch: 4, stop_within: None, released }
}

fn status(node: NodeId) -> NodeStatus {
    NodeStatus { id: node, state: NodeState::Ready, details: Default::default() }
}

struct Scene {
    store: TestStore,
    /// Desired on `FROM` and on `OTHER`.
    own: ReplicaDesired,
    others: ReplicaDesired,
}

/// Ends a chain of calls.
fn done(_transaction: &mut Transaction) {}

fn scene() -> Scene {
    let store = cluster_store(&["a", "b", "c"]);
    let shop = deployed(deployment_spec("shop", [("web", service("img", 2))]));
    let own = replica_desired(&shop.revision, "web", 0, &ready_node(FROM.0, "b").node);
    let others = replica_desired(&shop.revision, "web", 1, &ready_node(OTHER.0, "c").node);
    let fill = |all: &mut Transaction| {
        shop.put_into(all);
        all.put(own.clone()).put(others.clone());
        all.put(token("ops", Role::Admin, None)).put(token("dev", Role::Deployer, None));
        all.put(token("eye", Role::Viewer, None)).put(token("gone", Role::Admin, Some(5)));
        all.put(join_token(None)).put(data_key(&[1, 2, 3])).put(authority("CA", 1));
        all.put(subnet(OTHER, "10.244.3.0/24")).put(subnet(FROM, "10.244.2.0/24"));
        all.put(slot(&own, FROM, false)).put(slot(&others, OTHER, false));
        // Joined, and never heard of.
        let late = ready_node(7, "late");
        all.put(late.node).put(late.status);
    };
    store.write(fill).unwrap();
    Scene { store, own, others }
}

/// Judges what this actor sends from `FROM`.
fn judged(scene: &Scene, actor: &str, fill: impl FnOnce(&mut Transaction)) -> Result<(), String> {
    let mut transaction = Transaction::new(actor);
    fill(&mut transaction);
    authorise(&scene.store.view(), FROM, &Command::new(transaction).unwrap())
}

#[test]
fn a_node_writes_only_what_it_observes_itself() {
    let scene = scene();
    let (own, others) = (&scene.own, &scene.others);
    let seen = |of: &ReplicaDesired| replica_observed(of, ReplicaState::Running);
    type Fill<'a> = Box<dyn Fn(&mut Transaction) + 'a>;
    let fill = |fill: fn(&mut Transaction)| -> Fill<'_> { Box::new(fill) };
    let range = |cidr: &str| claim(ClaimKind::Subnet, cidr, "shop");
    let table: Vec<(&str, bool, Fill<'_>)> = vec![
        ("its status", true, fill(|t| done(t.put(status(FROM))))),
        ("another's status", false, fill(|t| done(t.put(status(OTHER))))),
        ("no status", false, fill(|t| done(t.delete::<NodeStatus>(FROM.to_string())))),
        ("whether it takes replicas", true, fill(|t| done(t.put(NodeSchedulability { id: FROM, schedulable: true })))),
        ("whether another does", false, fill(|t| done(t.put(NodeSchedulability { id: OTHER, schedulable: true })))),
        ("a replica here", true, Box::new(move |t| done(t.put(seen(own))))),
        ("a replica elsewhere", false, Box::new(move |t| done(t.put(seen(others))))),
        (
            "a replica elsewhere as if it were here",
            false,
            Box::new(move |t| done(t.put(ReplicaObserved { node: FROM, ..seen(others) }))),
        ),
        ("its status and another's", false, fill(|t| done(t.put(status(FROM)).put(status(OTHER))))),
        (
            "a subnet with its range",
            true,
            Box::new(move |t| done(t.put(subnet(FROM, "10.244.9.0/24")).put(range("10.244.9.0/24")))),
        ),
        (
            "a range that another has",
            false,
            Box::new(move |t| done(t.put(subnet(FROM, "10.244.3.0/24")).put(range("10.244.3.0/24")))),
        ),
        ("a range without a subnet", false, Box::new(move |t| done(t.put(range("10.244.9.0/24"))))),
        (
            "its subnet and range given back",
            true,
            Box::new(move |t| {
                t.delete::<Subnet>(subnet(FROM, "10.244.2.0/24").key());
                t.delete::<Claim>(range("10.244.2.0/24").key());
            }),
        ),
        (
            "another's subnet given back",
            false,
            Box::new(move |t| done(t.delete::<Subnet>(subnet(OTHER, "10.244.3.0/24").key()))),
        ),
        ("its slot, let go", true, Box::new(move |t| done(t.put(slot(own, FROM, true))))),
        ("its slot, taken", false, Box::new(move |t| done(t.put(slot(own, FROM, false))))),
        ("another's slot, let go", false, Box::new(move |t| done(t.put(slot(others, OTHER, true))))),
        ("a slot taken over", false, Box::new(move |t| done(t.put(slot(others, FROM, false))))),
        ("a port", false, fill(|t| done(t.put(claim(ClaimKind::Port, "tcp/80", "shop"))))),
        ("a desired replica", false, Box::new(move |t| done(t.put(own.clone())))),
        ("a token", false, fill(|t| done(t.put(token("evil", Role::Admin, None))))),
        ("an audit event alone", true, fill(|t| done(t.audit("noted", [("a", "b")])))),
    ];
    for (what, allowed, fill) in &table {
        for actor in ["runtime", "ingress", "system"] {
            let judged = judged(&scene, actor, fill);
            assert_eq!(judged.is_ok(), *allowed, "{what} as {actor}: {judged:?}");
        }
    }
}

#[test]
fn everything_else_needs_an_identity_that_is_active_and_has_the_role() {
    let scene = scene();
    let apply = |t: &mut Transaction| done(t.put(route("shop.test", "shop", "web", 80)));
    let issue = |t: &mut Transaction| done(t.put(token("new", Role::Viewer, None)));
    for (actor, may_apply, may_issue) in [
        ("local", true, true),
        ("ops", true, true),
        ("dev", true, false),
        ("eye", false, false),
        ("gone", false, false),
        ("nobody", false, false),
        ("scheduler", false, false),
        ("", false, false),
    ] {
        let (applied, issued) = (judged(&scene, actor, apply), judged(&scene, actor, issue));
        assert_eq!((applied.is_ok(), issued.is_ok()), (may_apply, may_issue), "{actor:?}: {applied:?} {issued:?}");
    }
}

#[test]
fn members_write_for_each_other_what_joining_and_keys_need() {
    let scene = scene();
    let joiner = ready_node(9, "new");
    let join = |t: &mut Transaction| {
        t.put(join_token(Some(NodeId(9)))).put(joiner.node.clone()).put(joiner.status.clone());
        t.put(data_key(&[1, 2, 3, 9]));
    };
    assert_eq!(judged(&scene, "system", join), Ok(()));
    let refused = |what: &str, fill: &dyn Fn(&mut Transaction)| {
        assert!(judged(&scene, "system", fill).is_err(), "{what}");
    };
    refused("a node without a token", &|t| done(t.put(joiner.node.clone())));
    refused("another node than the joiner", &|t| {
        join(t);
        t.put(ready_node(10, "more").node);
    });
    refused("a joiner that is a member", &|t| {
        t.put(join_token(Some(OTHER))).put(ready_node(OTHER.0, "c").node);
    });
    refused("other copies of the key", &|t| {
        t.put(join_token(Some(NodeId(9)))).put(joiner.node.clone()).put(data_key(&[9]));
    });
    refused("a member that was heard of gives way", &|t| {
        join(t);
        t.delete::<Node>(OTHER.to_string());
    });
    let replacing = |t: &mut Transaction| {
        join(t);
        t.delete::<Node>(NodeId(7).to_string()).delete::<NodeStatus>(NodeId(7).to_string());
    };
    assert_eq!(judged(&scene, "system", replacing), Ok(()));
    assert!(judged(&scene, "runtime", join).is_err());

    let member = scene.store.view().get::<Node>(&OTHER.to_string()).unwrap().clone();
    let new_key = Node { public_keys: vec!["new".to_owned()], ..member.clone() };
    assert_eq!(judged(&scene, "system", |t| done(t.put(new_key))), Ok(()));
    let moved = Node { address: "192.0.2.99".to_owned(), ..member };
    refused("another's address", &|t| done(t.put(moved.clone())));

    assert_eq!(judged(&scene, "system", |t| done(t.put(authority("CA", 2)))), Ok(()));
    refused("another authority", &|t| done(t.put(authority("mine", 2))));
    refused("a data key", &|t| done(t.put(data_key(&[2]))));
}

#[test]
fn what_was_overtaken_is_left_to_apply_to_refuse() {
    let scene = scene();
    let view = scene.store.view();
    let version = view.version::<Token>("ops").unwrap();
    let foreign = |version| {
        move |t: &mut Transaction| {
            t.check_version::<Token>("ops", version).put(status(OTHER));
        }
    };
    assert_eq!(judged(&scene, "runtime", foreign(version - 1)), Ok(()), "it was written again since");
    assert!(judged(&scene, "runtime", foreign(version)).is_err());
    assert!(judged(&scene, "runtime", foreign(view.index() + 1)).is_err(), "it may come to hold");
    let absent = |t: &mut Transaction| done(t.check_absent::<Token>("ops").put(status(OTHER)));
    assert!(judged(&scene, "runtime", absent).is_err(), "the record may go");
}
