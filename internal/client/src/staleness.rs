//! Whether what a daemon told may be old, since it was without a majority of its cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jaco_proto::STALE_HEADER;
use tonic::metadata::MetadataMap;

/// What the last answer of a client's daemon said of itself. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Staleness(Arc<AtomicU64>);

impl Staleness {
    /// For how long the daemon had been without a majority when it answered last; `None` when it had one, or the answer does not depend
    /// on it.
    pub fn get(&self) -> Option<Duration> {
        Some(self.0.load(Ordering::Relaxed)).filter(|millis| *millis > 0).map(Duration::from_millis)
    }

    /// Takes note of an answer.
    pub(crate) fn note(&self, headers: &MetadataMap) {
        let millis =
            headers.get(STALE_HEADER).and_then(|value| value.to_str().ok()).map(|text| text.parse().unwrap_or(1));
        self.0.store(millis.unwrap_or(0), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_counts() {
        let staleness = Staleness::default();
        let mut headers = MetadataMap::new();
        assert_eq!(staleness.get(), None);
        headers.insert(STALE_HEADER, "14000".parse().unwrap());
        staleness.note(&headers);
        assert_eq!(staleness.get(), Some(Duration::from_secs(14)));
        headers.insert(STALE_HEADER, "of a newer daemon".parse().unwrap());
        staleness.note(&headers);
        assert!(staleness.get().is_some(), "it is old, for whatever time");
        staleness.note(&MetadataMap::new());
        assert_eq!(staleness.get(), None);
    }
}
