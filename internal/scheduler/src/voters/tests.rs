use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn member(id: u64, suffrage: Suffrage) -> Member {
    Member {
        id: NodeId(id),
        hostname: Hostname::new(format!("n{id:02}")).unwrap(),
        live: true,
        leaving: false,
        suffrage,
        caught_up: true,
    }
}

fn carry_out(
    members: &mut [Member],
    strangers: &mut BTreeMap<NodeId, Suffrage>,
    leader: &mut NodeId,
    step: MembershipStep,
) {
    let mut set = |id: NodeId, suffrage: Suffrage| match members.iter_mut().find(|member| member.id == id) {
        Some(member) => member.suffrage = suffrage,
        None if suffrage == Suffrage::None => drop(strangers.remove(&id)),
        None => drop(strangers.insert(id, suffrage)),
    };
    match step {
        MembershipStep::AddLearner(id) | MembershipStep::Demote(id) => set(id, Suffrage::Learner),
        MembershipStep::Promote(id) => set(id, Suffrage::Voter),
        MembershipStep::Remove(id) => set(id, Suffrage::None),
        MembershipStep::TransferLeadership(id) => *leader = id,
    }
}

/// Steps until none is left.
fn settle(
    members: &mut [Member],
    strangers: &mut BTreeMap<NodeId, Suffrage>,
    leader: &mut NodeId,
) -> Vec<MembershipStep> {
    let mut steps = Vec::new();
    while let Some(step) = membership_step(members, &list(strangers), *leader) {
        assert!(steps.len() < 200, "it never ends: {:?}", &steps[150..]);
        carry_out(members, strangers, leader, step);
        steps.push(step);
    }
    steps
}

fn list(strangers: &BTreeMap<NodeId, Suffrage>) -> Vec<(NodeId, Suffrage)> {
    strangers.iter().map(|(id, suffrage)| (*id, *suffrage)).collect()
}

fn voters(members: &[Member]) -> Vec<u64> {
    members.iter().filter(|member| member.suffrage == Suffrage::Voter).map(|member| member.id.0).collect()
}

#[test]
fn a_cluster_grows_by_the_table() {
    let mut members = vec![member(1, Suffrage::Voter)];
    let mut leader = NodeId(1);
    for (count, expected) in [(2, 1), (3, 3), (4, 3), (5, 5), (6, 5), (7, 7), (8, 7)] {
        members.push(member(count, Suffrage::None));
        settle(&mut members, &mut BTreeMap::new(), &mut leader);
        assert_eq!(voters(&members).len(), expected, "{count} members");
    }
    assert_eq!(voters(&members), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_learner_that_is_behind_waits() {
    let mut behind = member(2, Suffrage::Learner);
    behind.caught_up = false;
    let members = [member(1, Suffrage::Voter), behind, member(3, Suffrage::Learner)];
    assert_eq!(membership_step(&members, &[], NodeId(1)), Some(MembershipStep::Promote(NodeId(3))));
}

#[test]
fn a_dead_voter_is_replaced_by_a_live_learner() {
    let mut members: Vec<Member> = (1..=4).map(|id| member(id, Suffrage::Voter)).collect();
    members[3].suffrage = Suffrage::Learner;
    members[1].live = false;
    let mut leader = NodeId(1);
    let steps = settle(&mut members, &mut BTreeMap::new(), &mut leader);
    assert_eq!(steps, [MembershipStep::Promote(NodeId(4)), MembershipStep::Demote(NodeId(2))]);
}

#[test]
fn of_two_the_other_votes_before_the_only_voter_leaves() {
    let mut members = vec![member(1, Suffrage::Voter), member(2, Suffrage::Learner)];
    members[0].leaving = true;
    let mut leader = NodeId(1);
    let steps = settle(&mut members, &mut BTreeMap::new(), &mut leader);
    let expected = [
        MembershipStep::Promote(NodeId(2)),
        MembershipStep::TransferLeadership(NodeId(2)),
        MembershipStep::Demote(NodeId(1)),
        MembershipStep::Remove(NodeId(1)),
    ];
    assert_eq!(steps, expected);
}

#[test]
fn one_without_a_record_is_let_go() {
    let mut members = vec![member(1, Suffrage::Voter), member(2, Suffrage::Voter)];
    let mut strangers = BTreeMap::from([(NodeId(9), Suffrage::Voter)]);
    let mut leader = NodeId(1);
    let steps = settle(&mut members, &mut strangers, &mut leader);
    assert_eq!(
        steps,
        [MembershipStep::Demote(NodeId(9)), MembershipStep::Remove(NodeId(9)), MembershipStep::Demote(NodeId(2))]
    );
}

fn any_member(id: u64) -> impl Strategy<Value = Member> {
    let suffrage = prop_oneof![Just(Suffrage::None), Just(Suffrage::Learner), Just(Suffrage::Voter)];
    (suffrage, prop::bool::weighted(0.8), prop::bool::weighted(0.2), prop::bool::weighted(0.7)).prop_map(
        move |(suffrage, live, leaving, caught_up)| Member { live, leaving, caught_up, ..member(id, suffrage) },
    )
}

proptest! {
    #[test]
    fn every_step_is_sound_and_they_end(
        mut members in (0..9_u64).prop_flat_map(|count| (1..=count + 1).map(any_member).collect::<Vec<_>>()),
        strangers in prop::collection::btree_map(20..23_u64, prop_oneof![Just(Suffrage::Learner), Just(Suffrage::Voter)], 0..3),
    ) {
        // The leader votes and lives.
        members[0].suffrage = Suffrage::Voter;
        members[0].live = true;
        let mut leader = members[0].id;
        let mut strangers: BTreeMap<NodeId, Suffrage> = strangers.into_iter().map(|(id, s)| (NodeId(id), s)).collect();
        for _ in 0..200 {
            let Some(step) = membership_step(&members, &list(&strangers), leader) else { break };
            match step {
                MembershipStep::Demote(id) | MembershipStep::Remove(id) => prop_assert_ne!(id, leader),
                MembershipStep::Promote(id) | MembershipStep::TransferLeadership(id) => {
                    let to = members.iter().find(|member| member.id == id).unwrap();
                    prop_assert!(to.live && !to.leaving);
                    prop_assert!(to.suffrage == Suffrage::Voter || to.caught_up);
                }
                MembershipStep::AddLearner(_) => {}
            }
            carry_out(&mut members, &mut strangers, &mut leader, step);
            prop_assert!(!voters(&members).is_empty());
        }
        prop_assert_eq!(membership_step(&members, &list(&strangers), leader), None, "it never ends");
        let staying: Vec<&Member> = members.iter().filter(|member| !member.leaving).collect();
        let able = staying.iter().filter(|member| member.live && (member.caught_up || member.suffrage == Suffrage::Voter)).count();
        let wanted = voters_for(staying.len());
        if able >= wanted && !staying.is_empty() {
            let count = staying.iter().filter(|member| member.suffrage == Suffrage::Voter).count();
            prop_assert_eq!(count, wanted);
        }
    }
}
