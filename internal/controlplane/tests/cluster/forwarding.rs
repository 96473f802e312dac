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
    cluster.network.judge(|_, _, request| match request.kind() {
        "propose" => Fate::AnswerLost,
        _ => Fate::Delivered,
    });
    let request = request_of("a", &follower);
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

/// Catches a request as it is sent.
fn catch(cluster: &MemoryCluster) -> std::sync::Arc<std::sync::Mutex<Option<jaco_controlplane::PeerRequest>>> {
    let caught = std::sync::Arc::new(std::sync::Mutex::new(None));
    let sink = caught.clone();
    cluster.network.judge(move |_, _, request| {
        if request.kind() == "propose" {
            *sink.lock().unwrap() = Some(request.clone());
        }
        Fate::Delivered
    });
    caught
}

#[tokio::test(start_paused = true)]
async fn requests_of_others_are_refused_by_name() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let caught = catch(&cluster);
    write(cluster.store(node(2)).unwrap(), "a").await.unwrap();
    let request = caught.lock().unwrap().take().unwrap();
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

    // In a stream, too; and only entries travel in one.
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
    let caught = catch(&cluster);
    let (leader, third) = (cluster.store(node(1)).unwrap().clone(), cluster.store(node(3)).unwrap().clone());
    write(&third, "a").await.unwrap();
    let request = caught.lock().unwrap().take().unwrap();
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
