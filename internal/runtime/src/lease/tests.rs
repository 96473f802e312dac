use jaco_state::{LocalStore, Store, Transaction};

use super::*;
use crate::testing::{NODE, TokioClock};

const SECOND: Duration = Duration::from_secs(1);
const NOW: Now = Now { wall_ms: 1_800_000_000_000, mono_ms: 50_000 };

fn view_with(slots: &[(&str, NodeId, bool)]) -> View {
    let store = LocalStore::new(TokioClock::start());
    let mut transaction = Transaction::new("test");
    for (replica, owner, released) in slots {
        let replica = ReplicaId::new(*replica).unwrap();
        transaction.put(ExclusiveSlot { replica, owner: *owner, epoch: 4, stop_within: None, released: *released });
    }
    store.commit(transaction).unwrap();
    store.view()
}

fn rights(lease: Option<Lease>) -> Rights {
    let view = view_with(&[("a-b-0", NODE, false), ("a-b-1", NodeId(99), false), ("a-b-2", NODE, true)]);
    Rights::new(&view, NODE, lease, NOW, 1_000 * SECOND, true)
}

#[tokio::test]
async fn a_lease_is_translated_from_the_boot_time_clock_to_the_loops_own() {
    let lease = |until| Some(Lease { until, stop_within: 10 * SECOND });
    let held = rights(lease(1_004 * SECOND));
    assert_eq!((held.lease_until, held.stop_within), (Some(54_000), 10 * SECOND));
    assert!(held.holds(NOW));
    let ended = rights(lease(997 * SECOND));
    assert_eq!((ended.lease_until, ended.stop_within), (Some(47_000), 10 * SECOND));
    assert!(!ended.holds(NOW));
    for (wanted, left) in [(Some(30), 6), (None, 6), (Some(8), 4), (Some(5), 1), (Some(4), 0), (Some(0), 0)] {
        assert_eq!(ended.grace(wanted.map(|wanted| wanted * SECOND), NOW), left * SECOND, "{wanted:?}");
    }
    assert_eq!(held.grace(Some(2 * SECOND), NOW), 2 * SECOND, "all of it while the lease holds");
    let long_ago = rights(lease(900 * SECOND));
    assert!(!long_ago.holds(NOW) && long_ago.grace(Some(30 * SECOND), NOW).is_zero());
    assert!(!rights(None).holds(NOW));
}

#[tokio::test]
async fn only_slots_that_are_held_here_count() {
    let held = rights(Some(Lease { until: 1_004 * SECOND, stop_within: SECOND }));
    let may = |id: &str| held.may_start(&ReplicaId::new(id).unwrap(), NOW);
    assert!(may("a-b-0"));
    assert!(!may("a-b-1") && !may("a-b-2") && !may("a-b-3"));
    let short = rights(Some(Lease { until: 1_001 * SECOND, stop_within: SECOND }));
    assert!(short.holds(NOW) && !short.may_start(&ReplicaId::new("a-b-0").unwrap(), NOW));
}

#[test]
fn a_lease_only_grows() {
    let handle = LeaseHandle::default();
    let lease = |until| Lease { until: until * SECOND, stop_within: SECOND };
    handle.renew(lease(10));
    handle.renew(lease(7));
    assert_eq!(handle.get(), Some(lease(10)));
    handle.renew(lease(11));
    assert_eq!(handle.get(), Some(lease(11)));
}

#[test]
fn a_slot_is_stored_in_this_form_and_one_without_a_time_to_stop_is_read() {
    let replica = ReplicaId::new("a-b-0").unwrap();
    let slot = ExclusiveSlot { replica, owner: NODE, epoch: 4, stop_within: Some(3 * SECOND), released: false };
    let text = r#"{"replica":"a-b-0","owner":"0000000000000007","epoch":4,"stop_within":3000000000}"#;
    assert_eq!(serde_json::to_string(&slot).unwrap(), text);
    assert_eq!(serde_json::from_str::<ExclusiveSlot>(text).unwrap(), slot);
    let earlier =
        serde_json::from_str::<ExclusiveSlot>(r#"{"replica":"a-b-0","owner":"0000000000000007","epoch":4}"#).unwrap();
    assert_eq!(earlier, ExclusiveSlot { stop_within: None, ..slot });
}
