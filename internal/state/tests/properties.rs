//! Properties of the store over random histories: apply against a model that is too simple to be wrong, replay, snapshots, watches.

// Clippy knows test functions, not the helpers beside them in a file that is all test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jaco_state::{
    Check, Clock, Command, Cursor, Entry, EntryMeta, Event, HubLimits, LocalStore, Outcome, REQUEST_WINDOW, RequestId,
    Stamp, StateMachine, Store, Transaction, View, WatchFrom, Watcher, Write, read_snapshot, write_snapshot,
};
use jaco_types::{ClusterMeta, DeploymentName, Entity, Kind, NodeId, NodeSchedulability, RevisionCounter, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

/// Few keys of two kinds, so that histories meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u8);

impl Key {
    fn kind(self) -> Kind {
        if self.0 < 4 { Kind::RevisionCounter } else { Kind::NodeSchedulability }
    }

    fn entity(self, value: u8) -> Entity {
        if self.kind() == Kind::RevisionCounter {
            let deployment = DeploymentName::new(format!("d{}", self.0)).unwrap();
            RevisionCounter { deployment, highest: u64::from(value) }.into_entity()
        } else {
            NodeSchedulability { id: NodeId(u64::from(self.0)), schedulable: value.is_multiple_of(2) }.into_entity()
        }
    }

    fn text(self) -> String {
        self.entity(0).key()
    }
}

#[derive(Debug, Clone)]
enum CheckStep {
    Absent(Key),
    /// The version the record has, plus this: 0 holds.
    Version(Key, u64),
    /// The term of the entry, plus this: 0 holds.
    Term(u64),
}

#[derive(Debug, Clone)]
enum WriteStep {
    Put(Key, u8),
    Delete(Key),
}

#[derive(Debug, Clone)]
struct TransactionStep {
    /// Token, and how far below the entry the base index lies.
    request: Option<(u8, u64)>,
    checks: Vec<CheckStep>,
    writes: Vec<WriteStep>,
    audit: u8,
    time_ms: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Transaction(TransactionStep),
    /// Entries without a command, or the gap of a restore.
    Advance(u64),
    NextTerm,
}

fn key() -> impl Strategy<Value = Key> {
    (0u8..7).prop_map(Key)
}

fn check_step() -> impl Strategy<Value = CheckStep> {
    prop_oneof![
        2 => key().prop_map(CheckStep::Absent),
        4 => (key(), prop_oneof![4 => Just(0u64), 1 => 1..3u64]).prop_map(|(key, off)| CheckStep::Version(key, off)),
        2 => prop_oneof![4 => Just(0u64), 1 => 1..3u64].prop_map(CheckStep::Term),
    ]
}

fn write_step() -> impl Strategy<Value = WriteStep> {
    prop_oneof![
        3 => (key(), 0u8..4).prop_map(|(key, value)| WriteStep::Put(key, value)),
        1 => key().prop_map(WriteStep::Delete),
    ]
}

fn transaction_step() -> impl Strategy<Value = TransactionStep> {
    let base = prop_oneof![6 => 1..20u64, 2 => REQUEST_WINDOW - 3..REQUEST_WINDOW + 3, 1 => Just(0u64)];
    (proptest::option::of((0u8..6, base)), vec(check_step(), 0..3), vec(write_step(), 0..5), 0u8..3, 0u64..1_000)
        .prop_map(|(request, checks, writes, audit, time_ms)| TransactionStep {
            request,
            checks,
            writes,
            audit,
            time_ms,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => transaction_step().prop_map(Step::Transaction),
        1 => prop_oneof![3 => 1..5u64, 1 => REQUEST_WINDOW - 20..REQUEST_WINDOW + 2, 1 => Just(1u64 << 32)].prop_map(Step::Advance),
        1 => Just(Step::NextTerm),
    ]
}

#[derive(Debug, Clone, PartialEq)]
enum Expected {
    Committed(Bytes),
    Refused(usize),
    Repeated(u64, Bytes),
    TooOld,
}

/// The store as a list of facts. Nothing is ever forgotten here; what the table forgets is decided by comparing indexes.
#[derive(Debug, Default)]
struct Model {
    index: u64,
    term: u64,
    now_ms: u64,
    records: BTreeMap<(Kind, String), (u64, Entity)>,
    commits: Vec<(u64, [u8; 16], Bytes)>,
    audit: Vec<(u64, String)>,
}

impl Model {
    fn build(&self, index: u64, step: &TransactionStep) -> Transaction {
        let mut transaction = Transaction::new("model");
        transaction.request_id = step
            .request
            .map(|(token, below)| RequestId { base_index: index.saturating_sub(below), token: [token; 16] });
        for check in &step.checks {
            transaction.check(match check {
                CheckStep::Absent(key) => Check::Absent { kind: key.kind(), key: key.text() },
                CheckStep::Version(key, off) => {
                    let version = self.records.get(&(key.kind(), key.text())).map_or(0, |(version, _)| *version);
                    Check::Version { kind: key.kind(), key: key.text(), version: version + off }
                }
                CheckStep::Term(off) => Check::Term(self.term + off),
            });
        }
        for write in &step.writes {
            transaction.writes.push(match write {
                WriteStep::Put(key, value) => Write::Put(key.entity(*value)),
                WriteStep::Delete(key) => Write::Delete { kind: key.kind(), key: key.text() },
            });
        }
        for number in 0..step.audit {
            transaction.audit("apply", [("number", number.to_string())]);
        }
        transaction.reply(format!("reply of {index}"));
        transaction
    }

    fn apply(&mut self, index: u64, time_ms: u64, transaction: &Transaction) -> Expected {
        self.index = index;
        self.now_ms = self.now_ms.max(time_ms);
        if let Some(id) = &transaction.request_id {
            let remembered =
                |commit: &&(u64, [u8; 16], Bytes)| commit.0 + REQUEST_WINDOW > index && commit.1 == id.token;
            if let Some((first, _, reply)) = self.commits.iter().find(remembered) {
                return Expected::Repeated(*first, reply.clone());
            }
            if id.base_index >= index || id.base_index + REQUEST_WINDOW < index {
                return Expected::TooOld;
            }
        }
        let holds = |check: &Check| match check {
            Check::Absent { kind, key } => !self.records.contains_key(&(*kind, key.clone())),
            Check::Version { kind, key, version } => {
                self.records.get(&(*kind, key.clone())).is_some_and(|(found, _)| found == version)
            }
            Check::Term(term) => *term == self.term,
        };
        if let Some(failed) = transaction.checks.iter().position(|check| !holds(check)) {
            return Expected::Refused(failed);
        }
        for write in &transaction.writes {
            match write {
                Write::Put(entity) => drop(self.records.insert((entity.kind(), entity.key()), (index, entity.clone()))),
                Write::Delete { kind, key } => drop(self.records.remove(&(*kind, key.clone()))),
            }
        }
        self.audit.extend(transaction.audit.iter().map(|event| (index, event.payload["number"].clone())));
        if let Some(id) = &transaction.request_id {
            self.commits.push((index, id.token, transaction.reply.clone()));
        }
        Expected::Committed(transaction.reply.clone())
    }

    fn compare(&self, view: &View) {
        assert_eq!((view.index(), view.now_ms()), (self.index, self.now_ms));
        let mine: Vec<_> = self
            .records
            .iter()
            .map(|((kind, key), (version, entity))| (*kind as u32, key.clone(), *version, Some(entity.clone())))
            .collect();
        let mut theirs: Vec<_> = view
            .records()
            .map(|record| (record.kind, record.key.to_string(), record.version, record.entity.clone()))
            .collect();
        theirs.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        assert_eq!(mine, theirs);
        let audit: Vec<_> = view.audit().map(|event| (event.raft_index, event.payload["number"].clone())).collect();
        assert_eq!(self.audit, audit);
    }
}

/// What the log would hold.
#[derive(Debug, Clone)]
enum Logged {
    Entry { index: u64, term: u64, bytes: Bytes },
    Blank { index: u64, term: u64 },
}

fn replay(machine: &mut StateMachine, log: &[Logged]) {
    for logged in log {
        match logged {
            Logged::Entry { index, term, bytes } => {
                let entry = Entry::decode(bytes.clone()).unwrap();
                machine.apply(EntryMeta { index: *index, term: *term, time_ms: entry.stamp.time_ms }, &entry.command);
            }
            Logged::Blank { index, term } => machine.advance(*index, *term),
        }
    }
}

fn snapshot(machine: &StateMachine) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_snapshot(&machine.view(), &mut bytes).unwrap();
    bytes
}

fn expected_of(outcome: &Outcome) -> Expected {
    match outcome {
        Outcome::Committed { commit, .. } => Expected::Committed(commit.reply.clone()),
        Outcome::Refused { failed } => Expected::Refused(*failed),
        Outcome::Repeated(commit) => Expected::Repeated(commit.index, commit.reply.clone()),
        Outcome::RequestTooOld => Expected::TooOld,
    }
}

/// Runs a history against the model and returns the log it leaves.
fn run(machine: &mut StateMachine, steps: &[Step]) -> Vec<Logged> {
    let mut model = Model { term: 1, ..Model::default() };
    let mut log = Vec::new();
    for step in steps {
        let before = machine.view();
        match step {
            Step::NextTerm => model.term += 1,
            Step::Advance(by) => {
                model.index += by;
                machine.advance(model.index, model.term);
                log.push(Logged::Blank { index: model.index, term: model.term });
            }
            Step::Transaction(step) => {
                let index = model.index + 1;
                let transaction = model.build(index, step);
                let command = Command::new(transaction.clone()).unwrap();
                let meta = EntryMeta { index, term: model.term, time_ms: step.time_ms };
                let outcome = machine.apply(meta, &command);
                assert_eq!(expected_of(&outcome), model.apply(index, step.time_ms, &transaction));
                check_changes(&before, &machine.view(), &outcome);
                let entry = Entry { stamp: Stamp { incarnation: 0, time_ms: step.time_ms }, command };
                log.push(Logged::Entry { index, term: model.term, bytes: entry.encode() });
            }
        }
        model.compare(&machine.view());
    }
    log
}

/// The changes an outcome names are those between the two views, and only a commit has any.
fn check_changes(before: &View, after: &View, outcome: &Outcome) {
    let differences = after.changes_since(before);
    let named = match outcome {
        Outcome::Committed { batch, .. } => batch.as_ref().map_or(&[][..], |batch| &batch.changes[..]),
        Outcome::Refused { .. } | Outcome::Repeated(_) | Outcome::RequestTooOld => &[],
    };
    assert_eq!(differences, named);
    for change in named {
        let version = |record: &Option<Arc<jaco_state::Record>>| record.as_ref().map_or(0, |record| record.version);
        assert!(change.after.is_none() || version(&change.after) == after.index());
        assert!(version(&change.before) < after.index());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Checks, versions, all or nothing, request ids and their horizon; replay and a snapshot in between change no byte.
    #[test]
    fn apply_does_what_the_model_does(steps in vec(step(), 1..60), cut in 0usize..60) {
        let mut machine = StateMachine::new();
        let log = run(&mut machine, &steps);
        let bytes = snapshot(&machine);

        let mut replayed = StateMachine::new();
        replay(&mut replayed, &log);
        prop_assert_eq!(&snapshot(&replayed), &bytes);

        let cut = cut.min(log.len());
        let mut first = StateMachine::new();
        replay(&mut first, &log[..cut]);
        let (mut installed, _) = read_snapshot(&snapshot(&first)[..]).unwrap();
        replay(&mut installed, &log[cut..]);
        prop_assert_eq!(&snapshot(&installed), &bytes);
    }
}

struct Still;

impl Clock for Still {
    fn now_ms(&self) -> u64 {
        0
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

#[derive(Debug, Clone)]
enum WatchStep {
    Commit(Vec<WriteStep>),
    /// This watcher takes up to so many events.
    Take(usize, usize),
    /// This watcher's connection breaks; it comes back with its cursor.
    Reconnect(usize),
    /// A snapshot with these writes in it is installed.
    Install(Vec<WriteStep>, u64),
    /// The cluster is initialised, or lives anew.
    Incarnation(u64),
}

const WATCHERS: usize = 3;

fn watch_step() -> impl Strategy<Value = WatchStep> {
    prop_oneof![
        8 => vec(write_step(), 0..4).prop_map(WatchStep::Commit),
        6 => (0..WATCHERS, 0usize..6).prop_map(|(watcher, events)| WatchStep::Take(watcher, events)),
        2 => (0..WATCHERS).prop_map(WatchStep::Reconnect),
        1 => (vec(write_step(), 0..4), 1..4u64).prop_map(|(writes, by)| WatchStep::Install(writes, by)),
        1 => (1..4u64).prop_map(WatchStep::Incarnation),
    ]
}

type Mirror = BTreeMap<(u32, Arc<str>), Arc<jaco_state::Record>>;

fn mirror_of(view: &View) -> Mirror {
    view.records().map(|record| ((record.kind, record.key.clone()), record.clone())).collect()
}

/// A reader that knows nothing but its events.
struct Follower {
    watcher: Watcher,
    mirror: Mirror,
    last: u64,
}

impl Follower {
    fn take(&mut self) -> bool {
        match self.watcher.try_next() {
            None => return false,
            Some(Event::Snapshot(view)) => {
                self.mirror = mirror_of(&view);
                self.last = view.index();
            }
            Some(Event::Batch(batch)) => {
                assert!(batch.index > self.last, "batch {} after {}", batch.index, self.last);
                self.last = batch.index;
                for change in &batch.changes {
                    let place = (change.kind, change.key.clone());
                    let had = match &change.after {
                        Some(after) => self.mirror.insert(place, after.clone()),
                        None => self.mirror.remove(&place),
                    };
                    assert_eq!(had, change.before, "a change is missing before {}", batch.index);
                }
            }
        }
        assert!(self.watcher.cursor().index >= self.last);
        true
    }
}

fn put_all(writes: &[WriteStep]) -> Transaction {
    let mut transaction = Transaction::new("watch");
    transaction.writes = writes
        .iter()
        .map(|write| match write {
            WriteStep::Put(key, value) => Write::Put(key.entity(*value)),
            WriteStep::Delete(key) => Write::Delete { kind: key.kind(), key: key.text() },
        })
        .collect();
    transaction
}

fn cluster(incarnation: u64) -> ClusterMeta {
    ClusterMeta {
        cluster_id: "id".to_owned(),
        name: "name".to_owned(),
        incarnation,
        feature_level: 1,
        created_at_ms: 0,
        ipam_pool: "10.244.0.0/16".parse().unwrap(),
        mesh_cidr: "10.245.0.0/16".parse().unwrap(),
        node_down_after_ms: 1,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// However a reader lags, reconnects, falls out of the ring or meets an installed snapshot: what it pieces together is the store.
    #[test]
    fn a_watch_has_no_hole(steps in vec(watch_step(), 1..80), ring_batches in 0usize..6, ring_bytes in 0usize..8_000) {
        let limits = HubLimits { ring_batches, ring_bytes, client_watchers: WATCHERS };
        let store = LocalStore::with_state(Arc::new(Still), StateMachine::new(), limits);
        let follow = |from| Follower { watcher: store.watch_client(from).unwrap(), mirror: Mirror::new(), last: 0 };
        let mut followers: Vec<_> = (0..WATCHERS).map(|_| follow(WatchFrom::Now)).collect();
        for follower in &mut followers {
            prop_assert!(follower.take());
        }
        for step in &steps {
            match step {
                WatchStep::Commit(writes) => {
                    store.commit(put_all(writes)).unwrap();
                }
                WatchStep::Incarnation(incarnation) => {
                    let mut transaction = Transaction::new("watch");
                    transaction.put(cluster(*incarnation));
                    store.commit(transaction).unwrap();
                }
                WatchStep::Take(follower, events) => {
                    for _ in 0..*events {
                        followers[*follower].take();
                    }
                }
                WatchStep::Reconnect(follower) => {
                    let follower = &mut followers[*follower];
                    let cursor: Cursor = follower.watcher.cursor();
                    // The old watcher goes first: they are counted.
                    follower.watcher = store.watch(WatchFrom::Now);
                    follower.watcher = store.watch_client(WatchFrom::After(cursor)).unwrap();
                }
                WatchStep::Install(writes, by) => {
                    let mut bytes = Vec::new();
                    write_snapshot(&store.view(), &mut bytes).unwrap();
                    let (mut machine, _) = read_snapshot(&bytes[..]).unwrap();
                    let index = machine.view().index() + by;
                    machine.apply(EntryMeta { index, term: 1, time_ms: 0 }, &Command::new(put_all(writes)).unwrap());
                    store.install(machine);
                }
            }
        }
        for follower in &mut followers {
            while follower.take() {}
            prop_assert_eq!(&follower.mirror, &mirror_of(&store.view()));
            prop_assert_eq!(follower.watcher.cursor().index, store.view().index());
        }
    }
}
