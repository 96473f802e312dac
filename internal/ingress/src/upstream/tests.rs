use std::sync::Arc;
use std::time::Duration;

use super::{InFlight, Upstream, UpstreamKey, UpstreamSet};
use crate::table::UpstreamProtocol;

fn upstream(port: u16) -> Arc<Upstream> {
    let key = UpstreamKey {
        address: ([127, 0, 0, 1], port).into(),
        container: format!("c{port}"),
        protocol: UpstreamProtocol::Http1,
    };
    Arc::new(Upstream::new(key, 1))
}

fn set(count: u16) -> UpstreamSet {
    UpstreamSet::new((1..=count).map(upstream).collect())
}

#[test]
fn an_empty_set_has_no_choice() {
    assert!(set(0).choose(7, 0, &[]).is_none());
    assert!(set(0).in_turn(0).is_empty());
}

#[test]
fn the_less_loaded_of_two_is_chosen() {
    let set = set(2);
    let _busy = InFlight::take(&set.upstreams[0]).unwrap();
    for random in 0..50_u64 {
        assert_eq!(
            set.choose(random.wrapping_mul(0x9E37_79B9_7F4A_7C15), 0, &[]).unwrap().upstream().key.address.port(),
            2
        );
    }
}

#[test]
fn two_random_choices_keep_the_load_even() {
    let set = set(8);
    let mut random = 1_u64;
    let guards: Vec<_> = (0..800)
        .map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            set.choose(random.rotate_left(17), 0, &[]).unwrap()
        })
        .collect();
    let loads: Vec<_> = set.upstreams.iter().map(|upstream| upstream.active()).collect();
    assert!(loads.iter().all(|load| (90..=110).contains(load)), "{loads:?}");
    drop(guards);
    assert!(set.upstreams.iter().all(|upstream| upstream.active() == 0));
}

#[test]
fn an_ejected_one_is_left_out_until_its_time_is_over() {
    let set = set(3);
    set.upstreams[0].eject(1000, Duration::from_secs(10));
    let ports = |now| {
        let mut ports: Vec<u16> = (0..200_u64)
            .map(|random| {
                set.choose(random.wrapping_mul(0x9E37_79B9_7F4A_7C15), now, &[]).unwrap().upstream().key.address.port()
            })
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    assert_eq!(ports(1000), [2, 3]);
    assert_eq!(ports(11_000), [1, 2, 3]);
}

#[test]
fn the_last_one_is_used_although_ejected_but_not_after_it_was_tried() {
    for count in [1, 3] {
        let set = set(count);
        for upstream in &set.upstreams {
            upstream.eject(0, Duration::from_secs(10));
        }
        assert!(set.choose(3, 5, &[]).is_some());
        let tried: Vec<_> = set.upstreams.iter().map(|upstream| upstream.key.address).collect();
        assert!(set.choose(3, 5, &tried).is_none());
    }
}

#[test]
fn a_withdrawn_one_is_never_chosen() {
    let set = set(2);
    set.upstreams[0].set_withdrawn(true);
    for random in 0..50_u64 {
        assert_eq!(set.choose(random << 31 | random, 0, &[]).unwrap().upstream().key.address.port(), 2);
    }
    set.upstreams[1].set_withdrawn(true);
    assert!(set.choose(1, 0, &[]).is_none());
    assert!(set.in_turn(0).is_empty());
    assert!(InFlight::take(&set.upstreams[0]).is_none());
    assert_eq!(set.upstreams[0].active(), 0);
}

#[test]
fn turns_go_round_and_put_ejected_ones_last() {
    let set = set(3);
    let firsts: Vec<u16> = (0..6).map(|_| set.in_turn(0)[0].key.address.port()).collect();
    assert_eq!(firsts, [1, 2, 3, 1, 2, 3]);
    set.upstreams[1].eject(0, Duration::from_secs(10));
    let turn: Vec<u16> = set.in_turn(1).iter().map(|upstream| upstream.key.address.port()).collect();
    assert_eq!(turn.last(), Some(&2));
    assert_eq!(turn.len(), 3);
}
