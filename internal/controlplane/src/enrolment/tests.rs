use jaco_identity::{JoinToken as JoinText, PrivateKey, RequestNames, SealSecretKey, renew_at};
use jaco_state::LocalStore;
use jaco_testkit::ManualClock;
use jaco_types::{Hostname, NodeSchedulability, Tombstone};

use super::*;
use crate::founded::{Founded, NOW_MS, member};

/// A founded cluster behind a store without consensus.
struct Fixture {
    founded: Founded,
    store: Arc<LocalStore>,
    clock: Arc<ManualClock>,
    enrolment: Enrolment,
    /// What joiners are able to.
    level: u32,
}

impl Fixture {
    fn new() -> Self {
        let founded = Founded::new(1, "a");
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let store = Arc::new(LocalStore::new(clock.clone()));
        store.commit(founded.first.clone()).unwrap();
        let enrolment = Enrolment::new(store.clone(), clock.clone(), founded.sealing());
        Fixture { founded, store, clock, enrolment, level: crate::FEATURE_LEVEL }
    }

    /// Issues a token that lives for an hour; gives its hash.
    async fn token(&self) -> String {
        let authority = Certificate::from_pem(&authority_certificate(&self.store.view()).unwrap()).unwrap();
        let hash = JoinText::generate(authority.fingerprint()).unwrap().secret().hash().to_string();
        self.enrolment.issue_join_token(&hash, Duration::from_secs(3600), "local", None).await.unwrap();
        hash
    }

    async fn join(&self, hash: &str, id: u64, name: &str, key: &PrivateKey) -> Result<Joined, ErrorCode> {
        let seal = SealSecretKey::generate().unwrap();
        let node = member(id, name, &seal);
        let names = RequestNames { hostname: Some(node.hostname.clone()), addresses: Vec::new() };
        let request = CertificateRequest::new(key, &names).unwrap();
        let (token_hash, feature_level) = (hash.to_owned(), self.level);
        let join = JoinRequest { token_hash, request, node, feature_level, seal_key: seal.public() };
        self.enrolment.join(join).await.map_err(|error| error.code)
    }
}

#[tokio::test]
async fn a_token_makes_one_member_and_gives_it_the_same_answer_again() {
    let fixture = Fixture::new();
    let (hash, key) = (fixture.token().await, PrivateKey::generate().unwrap());
    let first = fixture.join(&hash, 2, "b", &key).await.unwrap();
    let again = fixture.join(&hash, 2, "b", &key).await.unwrap();
    assert_eq!(first.certificate, again.certificate, "a lost answer is no lost token");
    let view = fixture.store.view();
    assert_eq!(view.get::<Node>(&NodeId(2).to_string()).unwrap().public_keys, [key.public_key().to_string()]);
    let copies = view.list::<jaco_types::DataKey>().map(|key| key.copies.len()).collect::<Vec<_>>();
    assert_eq!(copies, [2], "it can open what the cluster keeps sealed");

    let other = PrivateKey::generate().unwrap();
    assert_eq!(fixture.join(&hash, 3, "c", &other).await.unwrap_err(), ErrorCode::JoinTokenConsumed);
    assert_eq!(fixture.store.view().count::<Node>(), 2);
}

#[tokio::test]
async fn a_joiner_that_is_able_to_less_than_the_cluster_is_refused_and_its_token_is_still_good() {
    let mut fixture = Fixture::new();
    let (hash, key) = (fixture.token().await, PrivateKey::generate().unwrap());
    let meta = fixture.store.view().cluster().unwrap().clone();
    let mut raised = Transaction::new("system");
    raised.put(jaco_types::ClusterMeta { feature_level: fixture.level + 1, ..meta });
    fixture.store.commit(raised).unwrap();
    assert_eq!(fixture.join(&hash, 2, "b", &key).await.unwrap_err(), ErrorCode::VersionIncompatible);
    assert_eq!(fixture.store.view().count::<Node>(), 1);
    fixture.level += 1;
    fixture.join(&hash, 2, "b", &key).await.unwrap();
}

#[tokio::test]
async fn of_two_joins_at_once_with_one_token_one_succeeds() {
    let fixture = Fixture::new();
    let hash = fixture.token().await;
    let keys = [PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap()];
    let (one, other) = tokio::join!(fixture.join(&hash, 2, "b", &keys[0]), fixture.join(&hash, 3, "c", &keys[1]));
    assert_eq!([&one, &other].into_iter().filter(|joined| joined.is_ok()).count(), 1);
    assert_eq!(fixture.store.view().count::<Node>(), 2);
}

#[tokio::test]
async fn unknown_and_expired_tokens_and_taken_names_are_refused_and_change_nothing() {
    let fixture = Fixture::new();
    let key = PrivateKey::generate().unwrap();
    let unknown = fixture.join(&"0".repeat(64), 2, "b", &key).await;
    assert_eq!(unknown.unwrap_err(), ErrorCode::JoinTokenInvalid);
    let hash = fixture.token().await;
    let index = fixture.store.view().index();
    assert_eq!(fixture.join(&hash, 2, "a", &key).await.unwrap_err(), ErrorCode::NodeAlreadyMember);
    fixture.clock.advance(Duration::from_secs(3600));
    assert_eq!(fixture.join(&hash, 2, "b", &key).await.unwrap_err(), ErrorCode::JoinTokenExpired);
    assert_eq!(fixture.store.view().index(), index);
}

#[tokio::test]
async fn one_that_joined_and_was_never_heard_of_gives_its_name_back() {
    let fixture = Fixture::new();
    let (lost, found) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    fixture.join(&fixture.token().await, 2, "b", &lost).await.unwrap();
    assert!(fixture.store.view().get::<NodeSchedulability>(&NodeId(2).to_string()).is_none());
    fixture.join(&fixture.token().await, 3, "b", &found).await.unwrap();
    let view = fixture.store.view();
    let node = intent::find_node(&view, &Hostname::new("b").unwrap()).unwrap();
    assert_eq!(node.id, NodeId(3));
    assert!(view.get::<Tombstone>(&NodeId(2).to_string()).is_some(), "its certificate counts no more");
}

#[tokio::test]
async fn a_renewed_certificate_has_a_new_key_and_the_old_one_counts_until_it_was_used() {
    let fixture = Fixture::new();
    let (old, new) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let joined = fixture.join(&fixture.token().await, 2, "b", &old).await.unwrap();
    let facts = Certificate::from_pem(&joined.certificate).unwrap().facts().clone();
    let life = facts.not_after_ms - facts.not_before_ms;
    assert!(renew_at(facts.not_before_ms, facts.not_after_ms) < facts.not_before_ms + life * 7 / 10);

    let names = RequestNames { hostname: Some(Hostname::new("b").unwrap()), addresses: Vec::new() };
    let request = CertificateRequest::new(&new, &names).unwrap();
    let renewed = fixture.enrolment.renew(NodeId(2), &request).await.unwrap();
    assert_eq!(Certificate::from_pem(&renewed).unwrap().facts().public_key, new.public_key());
    let keys = || fixture.store.view().get::<Node>(&NodeId(2).to_string()).unwrap().public_keys.clone();
    assert_eq!(keys(), [old.public_key().to_string(), new.public_key().to_string()]);
    assert!(confirm_key(&fixture.store.view(), NodeId(2), &old.public_key()).is_none(), "the old one is still in use");
    let confirmed = confirm_key(&fixture.store.view(), NodeId(2), &new.public_key()).unwrap();
    fixture.store.commit(confirmed).unwrap();
    assert_eq!(keys(), [new.public_key().to_string()]);
    assert_eq!(fixture.enrolment.renew(NodeId(9), &request).await.unwrap_err().code, ErrorCode::NodeRemoved);
}

#[tokio::test]
async fn a_revoked_name_can_be_issued_anew_and_an_active_one_cannot() {
    let fixture = Fixture::new();
    let token = |hash: &str| NewToken {
        identity: jaco_types::OperatorName::new("ci").unwrap(),
        hash: hash.repeat(32),
        role: jaco_types::Role::Deployer,
        allows_privileged: false,
        certificate_keys: Default::default(),
    };
    fixture.enrolment.issue_token(token("aa"), None, "local", None).await.unwrap();
    let twice = fixture.enrolment.issue_token(token("bb"), None, "local", None).await;
    assert_eq!(twice.unwrap_err().code, ErrorCode::IdentityExists);
    let since = fixture.enrolment.revoke_token("ci", "local", None).await.unwrap();
    assert_eq!(fixture.enrolment.revoke_token("ci", "local", None).await.unwrap(), since, "nothing changes");
    fixture.enrolment.issue_token(token("bb"), None, "local", None).await.unwrap();
    let unknown = fixture.enrolment.revoke_token("nobody", "local", None).await;
    assert_eq!(unknown.unwrap_err().code, ErrorCode::IdentityNotFound);
    assert_eq!(fixture.founded.node.id, NodeId(1));
}
