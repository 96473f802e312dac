//! What a container of ours says of itself by its labels.

use jaco_types::{ReplicaId, label};

use crate::engine::Container;

/// The replica a container belongs to by its label.
pub(crate) fn replica_of(container: &Container) -> Option<ReplicaId> {
    ReplicaId::new(container.label(label::REPLICA_ID)).ok()
}

/// The epoch that a container was made in; `None` for one that is not exclusive.
pub(crate) fn epoch_of(container: &Container) -> Option<&str> {
    container.labels.get(label::EPOCH).map(String::as_str)
}
