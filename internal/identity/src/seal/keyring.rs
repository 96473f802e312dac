//! The data keys a node has, by epoch.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::data_key::{DataKey, Place, SealError, Sealed};

/// Several data keys: values are sealed with the newest and opened with the one they name. Cheap enough to be replaced as a
/// whole when a key comes or goes.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: BTreeMap<u64, DataKey>,
}

impl Keyring {
    /// Without a key: it neither seals nor opens.
    pub fn new() -> Keyring {
        Keyring::default()
    }

    /// Adds a key; one of the same epoch is replaced.
    pub fn insert(&mut self, key: DataKey) {
        self.keys.insert(key.epoch(), key);
    }

    /// Forgets the keys of all epochs below this one, once nothing is sealed with them.
    pub fn forget_before(&mut self, epoch: u64) {
        self.keys.retain(|held, _| *held >= epoch);
    }

    /// The epoch that seals.
    pub fn newest_epoch(&self) -> Option<u64> {
        self.keys.keys().next_back().copied()
    }

    /// The key of one epoch.
    pub fn get(&self, epoch: u64) -> Option<&DataKey> {
        self.keys.get(&epoch)
    }

    /// Every key, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &DataKey> {
        self.keys.values()
    }

    /// Seals a value with the newest key.
    pub fn seal(&self, place: Place<'_>, value: &[u8]) -> Result<Sealed, SealError> {
        self.keys.values().next_back().ok_or(SealError::NoKey)?.seal(place, value)
    }

    /// Opens a value with the key it was sealed with.
    pub fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let epoch = sealed.key_epoch();
        self.keys.get(&epoch).ok_or(SealError::UnknownEpoch { epoch })?.open(place, sealed)
    }

    /// Whether a value was sealed with an older key than the newest one here, and is to be sealed again.
    pub fn is_stale(&self, sealed: &Sealed) -> bool {
        self.newest_epoch().is_some_and(|newest| sealed.key_epoch() < newest)
    }
}
