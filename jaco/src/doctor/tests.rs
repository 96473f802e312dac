use super::super::report::Report;
use super::*;
use crate::printer::View;

fn healthy() -> Facts {
    Facts {
        config: Config { path: "/etc/jaco/jacod.yaml".into(), file: Ok(true) },
        engine: Engine::Answers { version: "20.10.24".into(), api: "1.41".into() },
        apparmor: AppArmor { in_kernel: false, has_parser: false },
        cgroup: Cgroup::V2,
        ports: [
            (Listener::Http, 80),
            (Listener::Https, 443),
            (Listener::Api, 7000),
            (Listener::Cluster, 7001),
            (Listener::Metrics, 7002),
        ]
        .map(|(listener, number)| Port { listener, number, holder: Holder::Nobody })
        .to_vec(),
        sync: Ok(Sync {
            directory: "/var/lib".into(),
            median: Duration::from_micros(800),
            worst: Duration::from_millis(3),
        }),
        clock: Clock { synchronized: Some(true), before_build: false },
        space: Ok(Space { directory: "/var/lib".into(), available: 50_000_000_000, total: 100_000_000_000 }),
        tun: true,
        nft: true,
    }
}

/// The verdict of the one check that a change of the facts concerns; every other check must stay OK.
fn verdict(name: &str, change: impl FnOnce(&mut Facts)) -> Verdict {
    let mut facts = healthy();
    change(&mut facts);
    let checks = evaluate(&facts);
    for check in &checks {
        assert!(check.name == name || check.result == Verdict::Ok, "{check:?}");
        assert_eq!(check.result == Verdict::Ok, check.fix.is_none(), "{check:?}");
    }
    checks.iter().find(|check| check.name == name).unwrap().result
}

#[test]
fn a_healthy_machine_is_all_ok() {
    let report = Report::new(evaluate(&healthy()));
    assert!(report.healthy && report.checks.iter().all(|check| check.result == Verdict::Ok));
    assert_eq!(
        report.table().lines().take(2).collect::<Vec<_>>(),
        ["CHECK        RESULT   DETAILS", "config       OK       /etc/jaco/jacod.yaml"]
    );
    assert!(!report.table().contains("What to do"));
}

#[test]
fn without_a_fitting_engine_nothing_works() {
    let engines = [
        Engine::NoSocket("/s".into()),
        Engine::Denied("/s".into()),
        Engine::NoAnswer("/s".into(), "timed out".into()),
        Engine::Answers { version: "19.03".into(), api: "1.40".into() },
        Engine::Answers { version: "x".into(), api: "x".into() },
    ];
    for engine in engines {
        assert_eq!(verdict("engine", |facts| facts.engine = engine), Verdict::Missing);
    }
    let newer = Engine::Answers { version: "29.0".into(), api: "1.52".into() };
    assert_eq!(verdict("engine", |facts| facts.engine = newer), Verdict::Ok);
}

#[test]
fn apparmor_needs_its_parser_only_where_the_kernel_has_it() {
    let set = |in_kernel, has_parser| move |facts: &mut Facts| facts.apparmor = AppArmor { in_kernel, has_parser };
    assert_eq!(verdict("apparmor", set(true, false)), Verdict::Missing);
    assert_eq!(verdict("apparmor", set(true, true)), Verdict::Ok);
}

#[test]
fn every_kind_of_cgroup_will_do() {
    for cgroup in [Cgroup::V1, Cgroup::V2, Cgroup::Hybrid] {
        assert_eq!(verdict("cgroup", |facts| facts.cgroup = cgroup), Verdict::Ok);
    }
    assert_eq!(verdict("cgroup", |facts| facts.cgroup = Cgroup::Absent), Verdict::Missing);
}

#[test]
fn ports_are_free_or_our_own() {
    let held = |index: usize, name: &str| {
        let holder = Holder::Process(name.to_owned());
        move |facts: &mut Facts| facts.ports[index].holder = holder
    };
    assert_eq!(verdict("port 80", held(0, "jacod")), Verdict::Ok);
    assert_eq!(verdict("port 80", held(0, "nginx")), Verdict::Missing);
    assert_eq!(verdict("port 443", held(1, "nginx")), Verdict::Warning);
    assert_eq!(verdict("port 7001", |facts| facts.ports[3].holder = Holder::Somebody), Verdict::Warning);
}

#[test]
fn a_port_is_judged_by_what_it_is_for_and_not_by_its_number() {
    let moved = |facts: &mut Facts| {
        facts.ports[0].number = 8080;
        facts.ports[0].holder = Holder::Process("nginx".to_owned());
    };
    assert_eq!(verdict("port 8080", moved), Verdict::Missing);
    assert_eq!(verdict("config", |facts| facts.config.file = Err("no".into())), Verdict::Missing);
    assert_eq!(verdict("config", |facts| facts.config.file = Ok(false)), Verdict::Ok);
}

#[test]
fn slow_or_small_disks_are_told() {
    let slow = Sync { directory: "/d".into(), median: Duration::from_millis(30), worst: Duration::from_millis(90) };
    assert_eq!(verdict("fsync", |facts| facts.sync = Ok(slow)), Verdict::Warning);
    assert_eq!(verdict("fsync", |facts| facts.sync = Err("denied".into())), Verdict::Warning);
    let space = |available| {
        move |facts: &mut Facts| facts.space = Ok(Space { directory: "/d".into(), available, total: 1 << 40 })
    };
    assert_eq!(verdict("disk space", space(1 << 20)), Verdict::Missing);
    assert_eq!(verdict("disk space", space(1 << 30)), Verdict::Warning);
}

#[test]
fn clock_tun_and_nft_are_warnings() {
    let clock =
        |synchronized, before_build| move |facts: &mut Facts| facts.clock = Clock { synchronized, before_build };
    assert_eq!(verdict("clock", clock(Some(false), false)), Verdict::Warning);
    assert_eq!(verdict("clock", clock(None, false)), Verdict::Warning);
    assert_eq!(verdict("clock", clock(Some(true), true)), Verdict::Warning);
    assert_eq!(verdict("tun", |facts| facts.tun = false), Verdict::Warning);
    assert_eq!(verdict("nft", |facts| facts.nft = false), Verdict::Warning);
}

#[test]
fn the_table_ends_with_what_to_do() {
    let mut facts = healthy();
    facts.nft = false;
    let report = Report::new(evaluate(&facts));
    assert!(report.healthy);
    assert!(report.table().ends_with("\nWhat to do:\n  nft: apt-get install nftables\n"), "{}", report.table());
}
