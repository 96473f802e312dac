//! Whether this node is on the side of a majority.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jaco_types::NodeId;

/// When this node last heard that it is on the side of a majority. Clones are the same.
///
/// A leader answers heartbeats only after a majority has confirmed it, so an answer is such news; so is another leader than before, whom a
/// majority has elected. That a node knows a leader is none: the leader may be cut off as well, and a node that is cut off goes on naming
/// the one it last followed.
#[derive(Debug, Clone)]
pub(crate) struct Contact(Arc<Mutex<Heard>>);

#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Instant,
    leader: Option<NodeId>,
}

impl Contact {
    /// Of a daemon that begins now: it is given the time to find out.
    pub(crate) fn new() -> Self {
        Contact(Arc::new(Mutex::new(Heard { at: Instant::now(), leader: None })))
    }

    /// How long ago it was, when this node knows this leader now.
    pub(crate) fn age(&self, leader: Option<NodeId>) -> Duration {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if leader.is_some() && leader != heard.leader {
            *heard = Heard { at: Instant::now(), leader };
        }
        heard.at.elapsed()
    }

    /// There was such news now.
    pub(crate) fn note(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).at = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(contact: &Contact, seconds: u64) {
        contact.0.lock().unwrap().at -= Duration::from_secs(seconds);
    }

    #[test]
    fn an_answer_and_another_leader_are_news_and_the_same_leader_is_none() {
        let contact = Contact::new();
        let (one, two) = (Some(NodeId(1)), Some(NodeId(2)));
        assert!(contact.age(one) < Duration::from_secs(5));
        passed(&contact, 60);
        assert!(contact.age(one) >= Duration::from_secs(60), "it is named still, and nobody confirms it");
        assert!(contact.age(None) >= Duration::from_secs(60));
        assert!(contact.age(two) < Duration::from_secs(5), "a majority has elected another one");
        passed(&contact, 60);
        contact.note();
        assert!(contact.age(two) < Duration::from_secs(5));
    }
}
