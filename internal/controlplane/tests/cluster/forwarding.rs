//! Writes and reads on nodes that do not lead.

use std::time::Duration;

use jaco_controlplane::{PeerService, RefusalCode};
use jaco_state::{Check, Leadership, ProposeError, Store};
use jaco_testkit::{Fate, INCARNATION, MemoryCluster, target};
use jaco_types::{Claim, Stored};

use super::{SEED, agree, claim, keys, node, request_of, shutdown, write, write_of};

#[tokio::test(start_paused = true)]
async fn a_follower_writes_through_the_leader_and_shows_it_at_once() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    for (round, writer) in [2, 3, 1].into_iter().enumerate() {
        let store = cluster.store(node(writer)).unwrap();
        let commit = write(store, &round.to_string()).await.unwrap();
        assert!(store.view().index() >= commit.index);
        assert_eq!(keys(&store.view()).len(), round + 1);
        for reader in [1, 2, 3] {
            let view = cluster.store(node(reader)).unwrap().linearizable_view().await.unwrap();
            assert_eq!(keys(&view).len(), round + 1, "node {reader} after a write on {writer}");
        }
    }
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn refusals_and_repeated_requests_are_the_same_on_every_node() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let (second, third) = (cluster.store(node(2)).unwrap().clone(), cluster.store(node(3)).unwrap().clone());
    let mut request = request_of("a", &second);
    request.reply("answer").check_absent::<Claim>(claim("a").key());
    let first = second.propose(request.clone()).await.unwrap();
    assert_eq!((first.reply.as_ref(), first.repeated), (b"answer".as_slice(), false));
    let again = third.propose(request).await.unwrap();
    assert_eq!((again.index, again.reply, again.repeated), (first.index, first.reply, true));
    let mut other = write_of("a");
    other.check_absent::<Claim>(claim("a").key());
    let refused = third.propose(other).await.unwrap_err();
    assert!(matches!(refused, ProposeError::Refused { failed: Check::Absent { .. }, .. }), "{refused}");
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn the_work_of_a_leader_is_never_sent_on() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let Leadership::Leader { term } = cluster.store(node(1)).unwrap().leadership() else { panic!("node 1 leads") };
    let mut plan = write_of("a");
    plan.check_term(term);
    assert_eq!(cluster.store(node(2)).unwrap().propose(plan.clone()).await, Err(ProposeError::NoLeader));
    assert!(cluster.store(node(1)).unwrap().propose(plan).await.is_ok());
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn an_election_passes_unnoticed_by_a_write() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    cluster.crash(node(1)).await;
    write(cluster.store(node(2)).unwrap(), "a").await.unwrap();
    agree(&cluster, &["a"]).await;
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_an_unknown_outcome_and_the_same_request_tells() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let follower = cluster.store(node(2)).unwrap().clone();
    let request = request_of("a", &follower);
    cluster.network.cut(node(1), node(2));
    assert_eq!(follower.propose(request.clone()).await, Err(ProposeError::OutcomeUnknown));
    cluster.network.heal();
    assert!(follower.propose(request).await.unwrap().repeated);
    agree(&cluster, &["a"]).await;
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_question_for_a_read_is_asked_again() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    write(cluster.store(node(1)).unwrap(), "a").await.unwrap();
    let lost = std::sync::atomic::AtomicU64::new(0);
    cluster.network.judge(move |_, _, request| {
        let first = request.kind() == "read_index" && lost.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        if first { Fate::Lost } else { Fate::Delivered }
    });
    let view = cluster.store(node(2)).unwrap().linearizable_view().await.unwrap();
    assert_eq!(keys(&view), ["a"]);
    shutdown(&mut cluster).await;
}

/// A write as another member sends it on.
fn sent_on(key: &str, from: u64) -> jaco_controlplane::PeerRequest {
    let command = jaco_state::Command::new(write_of(key)).unwrap();
    jaco_controlplane::PeerRequest::propose(INCARNATION, node(from), node(1), &command)
}

#[tokio::test(start_paused = true)]
async fn each_of_many_that_travel_together_has_its_own_outcome() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let (second, third) = (cluster.store(node(2)).unwrap().clone(), cluster.store(node(3)).unwrap().clone());
    write(&second, "taken").await.unwrap();
    let base_index = second.view().index();
    let request = |number: u8| {
        let mut request = write_of(&format!("k{number:03}"));
        request.request_id(jaco_state::RequestId { base_index, token: [number; 16] });
        request
    };
    let requests: Vec<_> = (0..200).map(request).collect();
    let writes = requests.iter().enumerate().map(|(number, request)| {
        let (mut request, store) = (request.clone(), if number % 2 == 0 { &second } else { &third });
        if number % 5 == 0 {
            request.check_absent::<Claim>(claim("taken").key());
        }
        async move { (number, store.propose(request).await) }
    });
    let outcomes = futures_util::future::join_all(writes).await;
    let mut indexes = std::collections::BTreeSet::new();
    for (number, outcome) in outcomes {
        match outcome {
            Ok(commit) if number % 5 != 0 => assert!(indexes.insert(commit.index), "{number}"),
            Err(ProposeError::Refused { failed: Check::Absent { .. }, .. }) if number % 5 == 0 => {}
            other => panic!("{number}: {other:?}"),
        }
    }
    let again = third.propose(requests[7].clone()).await.unwrap();
    assert!(again.repeated && indexes.contains(&again.index));
    assert_eq!(keys(&second.linearizable_view().await.unwrap()).len(), 161);
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_to_a_leader_that_died_has_an_unknown_outcome_and_what_follows_finds_the_next() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let follower = cluster.store(node(2)).unwrap().clone();
    // The line is open.
    write(&follower, "a").await.unwrap();
    // Nothing commits, so what is sent now stays under way.
    cluster.network.isolate(node(1), [node(3)]);
    cluster.network.cut(node(1), node(2));
    let request = request_of("b", &follower);
    let (first, _killed) = tokio::join!(follower.propose(request.clone()), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cluster.crash(node(1)).await;
    });
    assert_eq!(first, Err(ProposeError::OutcomeUnknown));
    cluster.network.heal();
    follower.propose(request).await.unwrap();
    agree(&cluster, &["a", "b"]).await;
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn requests_of_others_are_refused_by_name() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let request = sent_on("a", 2);
    let leader = cluster.store(node(1)).unwrap().clone();
    let code = |response: jaco_controlplane::PeerResponse| response.refusal().map(jaco_controlplane::Refusal::code);

    assert_eq!(code(leader.receive(node(2), request.clone()).await), None);
    assert_eq!(code(leader.receive(node(3), request.clone()).await), Some(RefusalCode::OtherSender));
    let mut other_life = request.clone();
    other_life.incarnation += 1;
    assert_eq!(code(leader.receive(node(2), other_life.clone()).await), Some(RefusalCode::OtherIncarnation));
    let mut other_node = request.clone();
    other_node.to = node(3);
    assert_eq!(code(leader.receive(node(2), other_node).await), Some(RefusalCode::OtherNode));
    let answer = leader.receive_encoded(node(2), b"nonsense".as_slice().into()).await;
    let answer = jaco_controlplane::PeerResponse::decode(answer).unwrap();
    assert_eq!(code(answer), Some(RefusalCode::Malformed));

    // In a stream, too; and only entries, or only gathered proposals, travel in one.
    for (wrong, expected) in [(other_life, RefusalCode::OtherIncarnation), (request, RefusalCode::Malformed)] {
        use futures_util::StreamExt;
        let stream = leader.receive_stream(node(2), Box::pin(futures_util::stream::iter([wrong])));
        let answers: Vec<_> = stream.collect().await;
        assert_eq!(answers.into_iter().map(code).collect::<Vec<_>>(), [Some(expected)]);
    }
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_incarnation_gets_nowhere() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let options = jaco_controlplane::Options { incarnation: Some(INCARNATION + 1), ..cluster.options(node(4)) };
    let stranger = jaco_testkit::SeededStore::open_on(options).await.unwrap();
    cluster.network.attach(node(4), std::sync::Arc::new(stranger.clone()));
    let leader = cluster.store(node(1)).unwrap().clone();
    leader.add_learner(target(node(4))).await.unwrap();
    write(&leader, "a").await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(keys(&stranger.view()).is_empty());
    assert_eq!(stranger.status().last_index, 0);
    leader.remove_member(node(4)).await.unwrap();
    stranger.shutdown().await;
    shutdown(&mut cluster).await;
}

fn name(text: &str) -> jaco_types::OperatorName {
    jaco_types::OperatorName::new(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_forwarded_write_is_judged_again_by_the_leader() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let (leader, follower) = (cluster.store(node(1)).unwrap().clone(), cluster.store(node(2)).unwrap().clone());
    let token = |revoked_at_ms| jaco_types::Token {
        identity: name("ops"),
        hash: String::new(),
        role: jaco_types::Role::Admin,
        allows_privileged: false,
        issued_at_ms: 1,
        revoked_at_ms,
        certificate_keys: Default::default(),
    };
    let write_as = |actor: &str, key: &str| {
        let mut transaction = jaco_state::Transaction::new(actor);
        transaction.put(claim(key));
        transaction
    };
    let put = |token: jaco_types::Token| {
        let mut transaction = jaco_state::Transaction::new("local");
        transaction.put(token);
        transaction
    };
    leader.propose(put(token(None))).await.unwrap();
    follower.propose(write_as("ops", "a")).await.unwrap();
    // The follower hears of the revocation only after it has let the caller in.
    cluster.network.cut(node(1), node(2));
    leader.propose(put(token(Some(2)))).await.unwrap();
    cluster.network.heal();
    let refused = follower.propose(write_as("ops", "b")).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotPermitted { .. }), "{refused}");
    assert_eq!(refused.user_error().code, jaco_types::ErrorCode::PermissionDenied);
    let refused = follower.propose(write_as("runtime", "b")).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotPermitted { .. }), "{refused}");
    agree(&cluster, &["a"]).await;
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_removed_is_told_so_and_nothing_else() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let (leader, third) = (cluster.store(node(1)).unwrap().clone(), cluster.store(node(3)).unwrap().clone());
    write(&third, "a").await.unwrap();
    let request = sent_on("b", 3);
    let mut tombstone = jaco_state::Transaction::new("local");
    tombstone.put(jaco_types::Tombstone {
        node: node(3),
        hostname: jaco_testkit::hostname("c"),
        public_keys: Vec::new(),
        removed_at_ms: 1,
    });
    leader.propose(tombstone).await.unwrap();
    let answer = leader.receive(node(3), request).await;
    assert_eq!(answer.refusal().map(jaco_controlplane::Refusal::code), Some(RefusalCode::NodeRemoved));
    assert_eq!(write(&third, "b").await, Err(ProposeError::NodeRemoved));
    shutdown(&mut cluster).await;
}
