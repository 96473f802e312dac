use super::*;

const SECOND: Duration = Duration::from_secs(1);
const DOWN: Duration = Duration::from_secs(10);
const NODE: NodeId = NodeId(2);

fn heard(leading_for: Duration, silent_for: Duration) -> Sessions {
    Sessions { leading_for, silent_for: BTreeMap::from([(NODE, silent_for)]), predecessor: None }
}

fn unheard(leading_for: Duration) -> Sessions {
    Sessions { leading_for, ..Sessions::default() }
}

/// It led before, and has answered nothing for so long.
fn deposed(leading_for: Duration, silence: Duration) -> Sessions {
    Sessions { leading_for, predecessor: Some((NODE, silence)), ..Sessions::default() }
}

fn of(state: NodeState, sessions: &Sessions) -> Option<NodeState> {
    verdict(state, &known(sessions, true), DOWN)
}

fn known(sessions: &Sessions, was_there: bool) -> Heard {
    let as_leader = sessions.predecessor.map(|(_, silence)| silence);
    Heard { heard: sessions.silent_for.get(&NODE).copied(), was_there, leading_for: sessions.leading_for, as_leader }
}

#[test]
fn silence_makes_a_node_unreachable_and_then_down() {
    let long = 60 * SECOND;
    assert_eq!(of(NodeState::Ready, &heard(long, 2 * SECOND)), None);
    assert_eq!(of(NodeState::Ready, &heard(long, 3 * SECOND)), Some(NodeState::Unreachable));
    assert_eq!(of(NodeState::Unreachable, &heard(long, 9 * SECOND)), None);
    assert_eq!(of(NodeState::Unreachable, &heard(long, 10 * SECOND)), Some(NodeState::Down));
    assert_eq!(of(NodeState::Draining, &heard(long, 10 * SECOND)), Some(NodeState::Down));
    assert_eq!(of(NodeState::Down, &heard(long, 100 * SECOND)), None, "nothing is written again and again");
}

#[test]
fn a_new_leader_grants_a_full_period_from_when_sessions_could_be_back() {
    assert_eq!(of(NodeState::Ready, &unheard(RECONNECT + 2 * SECOND)), None);
    assert_eq!(of(NodeState::Ready, &unheard(RECONNECT + 3 * SECOND)), Some(NodeState::Unreachable));
    assert_eq!(of(NodeState::Unreachable, &unheard(RECONNECT + 9 * SECOND)), None);
    assert_eq!(of(NodeState::Unreachable, &unheard(RECONNECT + 10 * SECOND)), Some(NodeState::Down));
    assert_eq!(of(NodeState::Down, &unheard(SECOND)), None, "an election brings nobody back");
}

#[test]
fn the_leader_before_has_the_same_period_from_its_own_last_word() {
    assert_eq!(of(NodeState::Ready, &deposed(2 * SECOND, 3 * SECOND)), None, "it may find the new one yet");
    assert_eq!(of(NodeState::Ready, &deposed(3 * SECOND, 4 * SECOND)), Some(NodeState::Unreachable));
    assert_eq!(of(NodeState::Unreachable, &deposed(8 * SECOND, 9 * SECOND)), None);
    assert_eq!(of(NodeState::Unreachable, &deposed(9 * SECOND, 10 * SECOND)), Some(NodeState::Down));
    // It answers as a member, and only its session is late.
    assert_eq!(of(NodeState::Ready, &deposed(4 * SECOND, SECOND)), None);
    assert_eq!(of(NodeState::Ready, &deposed(RECONNECT + 3 * SECOND, SECOND)), Some(NodeState::Unreachable));
    // What was heard of it by session in this term is the newer word.
    let heard = Sessions { predecessor: Some((NODE, 60 * SECOND)), ..heard(60 * SECOND, SECOND) };
    assert_eq!(of(NodeState::Ready, &heard), None);
}

#[test]
fn a_leader_that_was_away_itself_counts_little_of_the_time_before_its_election() {
    assert_eq!(of(NodeState::Unreachable, &deposed(6 * SECOND, 3600 * SECOND)), None);
    assert_eq!(of(NodeState::Unreachable, &deposed(7 * SECOND, 3600 * SECOND)), Some(NodeState::Down));
}

#[test]
fn one_that_is_heard_again_has_to_prove_itself() {
    for state in [NodeState::Unreachable, NodeState::Down] {
        assert_eq!(of(state, &heard(60 * SECOND, Duration::ZERO)), Some(NodeState::Joining));
        assert_eq!(of(state, &unheard(SECOND)), None, "{state}: not heard yet");
    }
}

#[test]
fn one_that_joined_and_was_never_heard_is_left_alone() {
    assert_eq!(verdict(NodeState::Joining, &known(&unheard(600 * SECOND), false), DOWN), None);
    assert_eq!(of(NodeState::Joining, &unheard(600 * SECOND)), Some(NodeState::Down), "it came back and fell silent");
    assert_eq!(of(NodeState::Joining, &heard(600 * SECOND, 5 * SECOND)), Some(NodeState::Unreachable));
}

#[test]
fn a_nodes_death_is_one_transaction_of_this_term_and_closes_it_for_placements() {
    let world = crate::tests::World::new(&["a", "b"]);
    let own = crate::tests::node("a").id;
    let other = crate::tests::node("b").id;
    let sessions =
        Sessions { leading_for: 60 * SECOND, silent_for: BTreeMap::from([(other, 11 * SECOND)]), predecessor: None };
    let transactions = judge(&world.view(), 7, own, &sessions);
    assert_eq!(transactions.len(), 1);
    assert!(transactions[0].checks.contains(&jaco_state::Check::Term(7)));
    assert_eq!(transactions[0].audit[0].event, "node_down");
    let writes = format!("{:?}", transactions[0].writes);
    assert!(writes.contains("Down") && writes.contains("schedulable: false"), "{writes}");
}

#[test]
fn a_leader_that_was_down_under_the_one_before_it_comes_back() {
    let world = crate::tests::World::new(&["a", "b"]);
    let own = crate::tests::node("a").id;
    let mut down = Transaction::new("test");
    down.put(NodeStatus { id: own, state: NodeState::Down, details: BTreeMap::new() });
    world.commit(down).unwrap();
    let sessions = Sessions { leading_for: SECOND, ..Sessions::default() };
    let transactions = judge(&world.view(), 7, own, &sessions);
    assert_eq!(transactions.len(), 1);
    assert_eq!(transactions[0].audit[0].event, "node_recovered");
}
