use super::*;

#[test]
fn the_table_replaces_itself_and_has_chains_for_every_host() {
    let text = table(2);
    assert!(text.starts_with("table bridge lab\ndelete table bridge lab\n"), "{text}");
    for chain in ["chain forward", "chain from_host1", "chain to_host1", "chain from_host2", "chain to_host2"] {
        assert!(text.contains(chain), "{chain} in {text}");
    }
    assert!(!text.contains("host3"), "{text}");
}

#[test]
fn a_cut_has_a_direction() {
    assert_eq!(cut("host1", "host2"), "add element bridge lab cut { \"host1\" . \"host2\" }\n");
    assert_eq!(mend("host1", "host2").lines().count(), 2);
}

#[test]
fn a_loss_replaces_the_one_before_and_zero_ends_it() {
    assert_eq!(loss("host1", 0).lines().count(), 2);
    let text = loss("host1", 30);
    assert!(text.contains("from_host1 iifname \"host1\" numgen random mod 100 < 30 drop"), "{text}");
    assert!(text.contains("to_host1 oifname \"host1\" numgen random mod 100 < 30 drop"), "{text}");
    assert!(text.starts_with("flush chain"), "{text}");
}
