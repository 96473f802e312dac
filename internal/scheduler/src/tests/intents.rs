//! What users ask for.

use super::*;
use jaco_state::Check;

fn route(domain: &str, path: &str, tls: RouteTls) -> RouteSpec {
    RouteSpec {
        domain: Domain::new(domain).unwrap(),
        path: path.to_owned(),
        service: service_name("web"),
        port: 80,
        tls,
        strip_path: false,
    }
}

/// A deployment with one service and these routes and TCP ports.
fn shop(name: &str, routes: &[RouteSpec], ports: &[u16]) -> DeploymentSpec {
    let mut web = service(1);
    web.ports =
        ports.iter().map(|port| PublishedPort { protocol: Protocol::Tcp, host_port: *port, target: 80 }).collect();
    let mut spec = spec(name, [("web", web)]);
    spec.routes = routes.to_vec();
    spec
}

fn claims(world: &World) -> Vec<String> {
    world.view().list::<Claim>().map(|claim| format!("{}:{}={}", claim.kind.as_str(), claim.key, claim.owner)).collect()
}

fn code_of<T: std::fmt::Debug>(result: Result<T, UserError>) -> (ErrorCode, Option<String>) {
    let error = result.unwrap_err();
    (error.code, error.details.get("owner").cloned())
}

#[test]
fn init_writes_the_cluster_once() {
    let world = World::new(&["a"]);
    assert_eq!(world.view().cluster().unwrap().name, "test");
    let again = intent::init(&world.view(), cluster_meta(), node("b"), "local");
    assert_eq!(code_of(again).0, ErrorCode::ClusterAlreadyInitialized);
    let fresh = LocalStore::new(Arc::new(CountingClock::default()));
    let one = intent::init(&fresh.view(), cluster_meta(), node("a"), "local").unwrap();
    let other = intent::init(&fresh.view(), cluster_meta(), node("b"), "local").unwrap();
    fresh.commit(one).unwrap();
    assert!(fresh.commit(other).is_err(), "two at once: one is refused");
    let view = fresh.view();
    assert_eq!(view.list::<NodeStatus>().map(|status| status.state).collect::<Vec<_>>(), [NodeState::Joining]);
}

#[test]
fn a_clusters_name_can_be_shown_in_a_list() {
    let fresh = LocalStore::new(Arc::new(CountingClock::default()));
    for name in ["two\nlines".to_owned(), "x".repeat(129)] {
        let cluster = ClusterMeta { name, ..cluster_meta() };
        let refused = intent::init(&fresh.view(), cluster, node("a"), "local");
        assert_eq!(code_of(refused).0, ErrorCode::ValidationFailed);
    }
}

#[test]
fn an_apply_writes_everything_of_the_revision() {
    let world = World::new(&["a"]);
    let mut wanted =
        shop("shop", &[route("shop.test", "", RouteTls::Off), route("shop.test", "/api", RouteTls::Off)], &[8080]);
    wanted.networks.insert(NetworkName::new("default").unwrap(), NetworkSpec::default());
    wanted.volumes.insert(VolumeName::new("data").unwrap(), VolumeSpec::default());
    let external = VolumeSpec { literal_name: Some("common".to_owned()), external: true, labels: BTreeMap::new() };
    wanted.volumes.insert(VolumeName::new("common").unwrap(), external);
    let applied = world.try_apply(wanted).unwrap();
    assert_eq!((applied.revision, applied.previous_revision), (1, None));
    assert_eq!(
        claims(&world),
        [
            "container_name:shop-web=shop",
            "domain:shop.test=shop",
            "network_name:jaco_shop__default=shop",
            "port:tcp/8080=shop",
            "route:shop.test=shop",
            "route:shop.test/api=shop",
            "volume_name:jaco_shop_data=shop",
        ]
    );
    let view = world.view();
    assert_eq!((view.count::<Route>(), view.count::<PortRoute>()), (2, 1));
    let revision = view.get::<DeploymentRevision>(&DeploymentRevision::key_of(&deployment("shop"), 1)).unwrap();
    assert_eq!((revision.identity.as_str(), revision.applied_at_ms, revision.kind), ("local", 5, RevisionKind::Apply));
    let audit = view.audit().last().unwrap();
    assert_eq!((audit.event.as_str(), audit.identity.as_str()), ("apply", "local"));
    assert_eq!(audit.payload.get("revision").map(String::as_str), Some("1"));
}

#[test]
fn every_privileged_service_leaves_an_event_at_apply_and_at_rollback() {
    let world = World::new(&["a"]);
    let events = || {
        let admitted = |record: &&jaco_state::AuditRecord| record.event == "privileged_workload_admitted";
        let told = |record: &jaco_state::AuditRecord| {
            let of = |key: &str| record.payload.get(key).cloned().unwrap_or_default();
            format!("{} {} {} {}", of("deployment"), of("service"), of("identity"), of("fields"))
        };
        world.view().audit().filter(admitted).map(told).collect::<Vec<_>>()
    };
    let (mut both, mut one) = (service(1), service(1));
    both.container.privileged = true;
    both.container.security_opt = vec!["apparmor=unconfined".to_owned()];
    one.container.security_opt = vec!["no-new-privileges".to_owned()];
    world.apply(spec("shop", [("a", both), ("b", one), ("c", service(1))]));
    let applied = ["shop a local privileged,security_opt", "shop b local security_opt"];
    assert_eq!(events(), applied);
    world.apply(spec("shop", [("c", service(1))]));
    assert_eq!(events().len(), 2, "nothing of it is privileged any more");
    let back = intent::rollback(&world.view(), &deployment("shop"), None, "anna").unwrap();
    world.commit(back.transaction).unwrap();
    assert_eq!(events()[2..], ["shop a anna privileged,security_opt", "shop b anna security_opt"]);
}

#[test]
fn the_resolved_set_replaces_the_one_before() {
    let world = World::new(&["a"]);
    world.apply(shop(
        "shop",
        &[route("one.test", "", RouteTls::Off), route("two.test", "", RouteTls::Off)],
        &[8080, 8081],
    ));
    let kept = world.view().version::<Route>("two.test");
    world.apply(shop("shop", &[route("two.test", "", RouteTls::Off)], &[8081]));
    let view = world.view();
    assert_eq!(view.list::<Route>().map(|route| route.domain.to_string()).collect::<Vec<_>>(), ["two.test"]);
    assert_eq!(view.version::<Route>("two.test"), kept, "what is the same is not written again");
    assert_eq!(view.list::<PortRoute>().map(|port| port.host_port).collect::<Vec<_>>(), [8081]);
    assert_eq!(
        claims(&world),
        ["container_name:shop-web=shop", "domain:two.test=shop", "port:tcp/8081=shop", "route:two.test=shop"]
    );
    world.apply(shop("other", &[route("one.test", "", RouteTls::Auto)], &[8080]));
}

#[test]
fn what_another_deployment_has_is_refused_with_its_name() {
    let world = World::new(&["a"]);
    let mut first = shop("one", &[route("app.test", "", RouteTls::Off)], &[8080]);
    let literal = VolumeSpec { literal_name: Some("shared".to_owned()), ..VolumeSpec::default() };
    first.volumes.insert(VolumeName::new("data").unwrap(), literal.clone());
    first.services.get_mut("web").unwrap().container.container_name = Some("gate".to_owned());
    world.apply(first);
    let index = world.view().index();
    let owner = Some("one".to_owned());
    let route_taken = shop("two", &[route("APP.test", "", RouteTls::Off)], &[]);
    assert_eq!(code_of(world.try_apply(route_taken)), (ErrorCode::RouteConflict, owner.clone()));
    let other_mode = shop("two", &[route("app.test", "/x", RouteTls::Auto)], &[]);
    assert_eq!(code_of(world.try_apply(other_mode)), (ErrorCode::RouteConflict, owner.clone()));
    assert_eq!(code_of(world.try_apply(shop("two", &[], &[8080]))), (ErrorCode::PortConflict, owner.clone()));
    let mut named = shop("two", &[], &[]);
    named.services.get_mut("web").unwrap().container.container_name = Some("gate".to_owned());
    assert_eq!(code_of(world.try_apply(named)), (ErrorCode::NameConflict, owner.clone()));
    let mut volume = shop("two", &[], &[]);
    volume.volumes.insert(VolumeName::new("mine").unwrap(), literal);
    assert_eq!(code_of(world.try_apply(volume)), (ErrorCode::NameConflict, owner));
    assert_eq!(world.view().index(), index, "a refusal leaves no trace");
}

#[test]
fn derived_names_that_meet_are_refused() {
    let world = World::new(&["a"]);
    world.apply(spec("a-b", [("c", service(1))]));
    assert_eq!(
        code_of(world.try_apply(spec("a", [("b-c", service(1))]))),
        (ErrorCode::NameConflict, Some("a-b".to_owned()))
    );
    let mut explicit = service(1);
    explicit.container.container_name = Some("a-b-c-7".to_owned());
    let apply = world.try_apply(spec("x", [("web", explicit.clone())]));
    assert_eq!(code_of(apply), (ErrorCode::NameConflict, Some("a-b".to_owned())), "it looks like a replica id");
    explicit.container.container_name = Some("y-z-0".to_owned());
    world.apply(spec("x", [("web", explicit.clone())]));
    assert_eq!(
        code_of(world.try_apply(spec("y", [("z", service(1))]))),
        (ErrorCode::NameConflict, Some("x".to_owned()))
    );
    explicit.container.container_name = Some("redis-2".to_owned());
    world.apply(spec("r", [("web", explicit.clone())]));
    explicit.container.container_name = Some("redis".to_owned());
    world.apply(spec("s", [("web", explicit)]));
}

#[test]
fn two_simultaneous_applies_cannot_both_win() {
    let world = World::new(&["a"]);
    let view = world.view();
    let race = |one: DeploymentSpec, other: DeploymentSpec| {
        let one = intent::apply(&view, &World::request(one)).unwrap();
        let other = intent::apply(&view, &World::request(other)).unwrap();
        world.commit(one.transaction).unwrap();
        world.commit(other.transaction).unwrap_err()
    };
    let failed = race(shop("one", &[], &[8080]), shop("two", &[], &[8080]));
    let expected = Check::Absent { kind: Kind::Claim, key: "port:tcp/8080".to_owned() };
    assert!(matches!(failed, ProposeError::Refused { failed, .. } if failed == expected));
    race(
        shop("three", &[route("app.test", "/a", RouteTls::Off)], &[]),
        shop("four", &[route("app.test", "/b", RouteTls::Auto)], &[]),
    );
    race(shop("five", &[], &[]), shop("five", &[], &[]));
}

#[test]
fn a_domain_is_shared_by_those_who_agree_and_outlives_the_first() {
    let world = World::new(&["a"]);
    world.apply(shop("one", &[route("app.test", "", RouteTls::Off)], &[]));
    world.apply(shop("two", &[route("app.test", "/api", RouteTls::Off)], &[]));
    let change = shop("one", &[route("app.test", "", RouteTls::Auto)], &[]);
    assert_eq!(code_of(world.try_apply(change)), (ErrorCode::RouteConflict, Some("two".to_owned())));
    let view = world.view();
    let deleted = intent::delete(&view, &deployment("one"), "local").unwrap();
    world.commit(deleted.transaction).unwrap();
    assert!(claims(&world).contains(&"domain:app.test=two".to_owned()));
    world.apply(shop("two", &[route("app.test", "/api", RouteTls::Auto)], &[]));
    assert_eq!(world.view().get::<Claim>("domain:app.test").unwrap().detail, "auto");
    world.apply(shop("two", &[], &[]));
    assert!(!claims(&world).iter().any(|claim| claim.starts_with("domain:")));
}

#[test]
fn a_domain_cannot_be_given_back_while_somebody_joins_it() {
    let world = World::new(&["a"]);
    world.apply(shop("one", &[route("app.test", "", RouteTls::Off)], &[]));
    let view = world.view();
    let deleted = intent::delete(&view, &deployment("one"), "local").unwrap();
    let joining = World::request(shop("two", &[route("app.test", "/api", RouteTls::Off)], &[]));
    world.commit(intent::apply(&view, &joining).unwrap().transaction).unwrap();
    assert!(world.commit(deleted.transaction).is_err());
}

#[test]
fn one_thing_twice_in_a_spec_is_refused() {
    let world = World::new(&["a"]);
    assert_eq!(code_of(world.try_apply(shop("one", &[], &[8080, 8080]))).0, ErrorCode::PortConflict);
    let twice = [route("a.test", "/x", RouteTls::Off), route("a.test", "/x", RouteTls::Off)];
    assert_eq!(code_of(world.try_apply(shop("one", &twice, &[]))).0, ErrorCode::RouteConflict);
    let mut many = service(2);
    many.container.container_name = Some("db".to_owned());
    assert_eq!(code_of(world.try_apply(spec("one", [("db", many)]))).0, ErrorCode::ValidationFailed);
}

#[test]
fn pinned_hosts_must_be_members_but_not_ready() {
    let world = World::new(&["a"]);
    world.set_node("a", NodeState::Joining);
    world.apply(spec("one", [("web", with_placement(service(1), hosts(&["a"])))]));
    let error = world.try_apply(spec("two", [("web", with_placement(service(1), hosts(&["a", "zz"])))])).unwrap_err();
    assert_eq!((error.code, error.details.get("host").map(String::as_str)), (ErrorCode::UnknownHost, Some("zz")));
}

#[test]
fn a_rollback_restores_the_stored_revision_and_can_be_taken_back() {
    let world = World::new(&["a"]);
    world.apply(shop("shop", &[route("one.test", "", RouteTls::Off)], &[8080]));
    world.settle();
    let hash = world.replica("shop-web-0").spec_hash;
    let mut second = shop("shop", &[route("two.test", "", RouteTls::Off)], &[]);
    second.services.get_mut("web").unwrap().container.image = "web:2".to_owned();
    world.apply(second);
    world.settle();
    let back = intent::rollback(&world.view(), &deployment("shop"), None, "anna").unwrap();
    assert_eq!((back.revision, back.previous_revision), (1, 2));
    world.commit(back.transaction).unwrap();
    world.settle();
    let view = world.view();
    assert_eq!(view.list::<Route>().map(|route| route.domain.to_string()).collect::<Vec<_>>(), ["one.test"]);
    assert_eq!(view.list::<PortRoute>().map(|port| port.host_port).collect::<Vec<_>>(), [8080]);
    let replica = world.replica("shop-web-0");
    assert_eq!((replica.revision, replica.generation, &replica.spec_hash), (1, 3, &hash));
    let shop = world.deployment("shop");
    assert_eq!((shop.active_revision, shop.previous_revision, shop.attempt), (1, Some(2), 3));
    assert_eq!(shop.status, DeploymentStatus::Active);
    let stored = view.get::<DeploymentRevision>(&DeploymentRevision::key_of(&deployment("shop"), 1)).unwrap();
    assert_eq!((stored.kind, stored.identity.as_str()), (RevisionKind::Rollback, "local"));
    let audit = view.audit().last().unwrap();
    assert_eq!((audit.event.as_str(), audit.identity.as_str()), ("rollback", "anna"));
    let applied = world.try_apply(self::shop("shop", &[], &[])).unwrap();
    assert_eq!((applied.revision, applied.previous_revision), (3, Some(1)), "the next apply takes highest + 1");
}

#[test]
fn a_rollback_is_refused_where_there_is_nothing_to_go_back_to() {
    let world = World::new(&["a"]);
    let rollback = |to| intent::rollback(&world.view(), &deployment("shop"), to, "local").map(|back| back.revision);
    assert_eq!(code_of(rollback(None)).0, ErrorCode::DeploymentNotFound);
    world.apply(shop("shop", &[], &[]));
    assert_eq!(code_of(rollback(None)).0, ErrorCode::NoPreviousRevision);
    assert_eq!(code_of(rollback(Some(9))).0, ErrorCode::RevisionNotFound);
    assert_eq!(rollback(Some(1)), Ok(1), "the active one: another attempt");
}

#[test]
fn a_rollback_checks_what_others_have_taken_since() {
    let world = World::new(&["a"]);
    world.apply(shop("shop", &[], &[8080]));
    world.apply(shop("shop", &[], &[]));
    world.apply(shop("other", &[], &[8080]));
    let back = intent::rollback(&world.view(), &deployment("shop"), None, "local");
    assert_eq!(code_of(back), (ErrorCode::PortConflict, Some("other".to_owned())));
}

#[test]
fn a_delete_leaves_only_the_revision_counter() {
    let world = World::new(&["a"]);
    assert_eq!(code_of(intent::delete(&world.view(), &deployment("shop"), "local")).0, ErrorCode::DeploymentNotFound);
    world.apply(shop("shop", &[route("one.test", "", RouteTls::Off)], &[8080]));
    world.apply(shop("shop-2", &[], &[]));
    world.settle();
    let deleted = intent::delete(&world.view(), &deployment("shop"), "local").unwrap();
    assert_eq!(deleted.revision, 1);
    world.commit(deleted.transaction).unwrap();
    let view = world.view();
    assert_eq!(claims(&world), ["container_name:shop-2-web=shop-2"]);
    assert_eq!((view.count::<Route>(), view.count::<PortRoute>()), (0, 0));
    assert!(world.ids("shop").is_empty());
    assert_eq!(
        view.list::<DeploymentRevision>().map(|revision| revision.deployment.to_string()).collect::<Vec<_>>(),
        ["shop-2"]
    );
    assert_eq!(view.audit().last().unwrap().event, "delete");
    assert_eq!(world.apply(shop("shop", &[], &[])), 2, "numbers go on");
}

#[test]
fn replicas_beyond_the_delete_transaction_are_removed_by_the_plan() {
    let world = World::new(&["a"]);
    world.apply(spec("shop", [("web", service(1_300))]));
    world.settle();
    let deleted = intent::delete(&world.view(), &deployment("shop"), "local").unwrap();
    world.commit(deleted.transaction).unwrap();
    assert_eq!(world.ids("shop").len(), 300);
    world.settle();
    assert!(world.ids("shop").is_empty());
}
