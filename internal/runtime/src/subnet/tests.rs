use super::*;

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

#[test]
fn the_default_pool_carries_sixteen_nodes_with_sixty_four_networks() {
    let pool = net("10.244.0.0/16");
    let mut used = Vec::new();
    while let Some(free) = lowest_free(pool, used.iter().copied()) {
        assert!(pool.contains(&free));
        used.push(free);
    }
    assert_eq!(used.len(), 16 * 64);
    // Network, gateway and broadcast addresses are not for containers.
    const { assert!((1_u32 << (32 - PREFIX)) - 3 >= 60) };
    used.sort();
    used.dedup();
    assert_eq!(used.len(), 16 * 64, "no range twice");
}

#[test]
fn the_lowest_free_range_is_taken() {
    let pool = net("10.244.0.0/16");
    for (used, expected) in [
        (vec![], "10.244.0.0/26"),
        (vec!["10.244.0.0/26"], "10.244.0.64/26"),
        (vec!["10.244.0.64/26"], "10.244.0.0/26"),
        (vec!["10.244.0.64/26", "10.244.0.0/26", "10.244.0.192/26"], "10.244.0.128/26"),
        (vec!["10.244.0.0/24"], "10.244.1.0/26"),
        (vec!["10.244.0.16/28"], "10.244.0.64/26"),
        (vec!["172.16.0.0/12", "10.0.0.0/16"], "10.244.0.0/26"),
    ] {
        let used_nets: Vec<_> = used.iter().map(|text| net(text)).collect();
        assert_eq!(lowest_free(pool, used_nets), Some(net(expected)), "{used:?}");
    }
}

#[test]
fn a_full_or_tiny_pool_ends() {
    assert_eq!(lowest_free(net("10.0.0.0/25"), [net("10.0.0.0/26"), net("10.0.0.64/26")]), None);
    assert_eq!(lowest_free(net("255.255.255.192/26"), []), Some(net("255.255.255.192/26")));
    assert_eq!(lowest_free(net("255.255.255.192/26"), [net("255.255.255.192/26")]), None);
    assert_eq!(lowest_free(net("10.0.0.0/8"), [net("10.0.0.0/8")]), None);
}
