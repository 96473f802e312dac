//! Watchers that carry their cursor from node to node, and must miss nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jaco_state::{Cursor, Event, Store, View, WatchFrom, Watcher};
use jaco_types::NodeId;

use crate::model::{Broken, Model};
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::world::World;

type Key = (u32, Arc<str>);

/// One watcher with all it has heard.
pub(crate) struct Watch {
    number: usize,
    on: Option<(NodeId, Watcher)>,
    place: Option<Cursor>,
    known: BTreeMap<Key, (u64, Bytes)>,
    batches: u64,
    /// The index that its knowledge was last compared at.
    compared: u64,
}

fn contents(view: &View) -> BTreeMap<Key, (u64, Bytes)> {
    let record =
        |record: &Arc<jaco_state::Record>| ((record.kind, record.key.clone()), (record.version, record.body.clone()));
    view.records().map(record).collect()
}

impl Watch {
    /// A watcher that is nowhere yet.
    pub(crate) fn new(number: usize) -> Self {
        Watch { number, on: None, place: None, known: BTreeMap::new(), batches: 0, compared: 0 }
    }

    /// Its node is gone, or it wants another one.
    pub(crate) fn detach(&mut self) {
        if let Some((_, watcher)) = self.on.take() {
            self.place = Some(watcher.cursor());
        }
    }

    /// Where it is.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.on.as_ref().map(|(node, _)| *node)
    }

    /// Changes it was told of one by one.
    pub(crate) fn batches(&self) -> u64 {
        self.batches
    }

    /// Takes all that is there, and compares what it knows then with the history.
    ///
    /// # Errors
    /// A hole, or a difference.
    pub(crate) fn follow(&mut self, world: &World, model: &Model, random: &Random) -> Result<(), Broken> {
        if self.on.is_none() {
            let Some((node, member)) = random.pick(&world.members()) else { return Ok(()) };
            let from = self.place.filter(|place| place.index > 0).map_or(WatchFrom::Now, WatchFrom::After);
            world.trace.note(format_args!("watcher {} goes to node {node} from {from:?}", self.number));
            self.on = Some((node, member.store.watch(from)));
        }
        let Some((_, watcher)) = &mut self.on else { return Ok(()) };
        while let Some(event) = watcher.try_next() {
            match event {
                Event::Snapshot(view) => self.known = contents(&view),
                Event::Batch(batch) => {
                    self.batches += 1;
                    if world.is_broken(Sabotage::LostChanges) && self.batches.is_multiple_of(50) {
                        continue;
                    }
                    for change in &batch.changes {
                        let key = (change.kind, change.key.clone());
                        let had = self.known.get(&key).map(|(version, _)| *version);
                        let expected = change.before.as_ref().map(|record| record.version);
                        if had != expected {
                            return Err(format!(
                                "watcher {} misses a change of {} before index {}: it knows {had:?}, and it was {expected:?}",
                                self.number, change.key, batch.index
                            ));
                        }
                        match &change.after {
                            Some(record) => self.known.insert(key, (record.version, record.body.clone())),
                            None => self.known.remove(&key),
                        };
                    }
                }
            }
        }
        let index = watcher.cursor().index;
        let Some(view) = model.view_at(index).filter(|_| index != self.compared) else { return Ok(()) };
        self.compared = index;
        if contents(view) != self.known {
            return Err(format!("watcher {} does not know the state at its place {index}", self.number));
        }
        Ok(())
    }
}
