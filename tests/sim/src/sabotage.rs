//! Ways to break the cluster on purpose: a check that never fails checks nothing.

/// What is broken in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// Disks say that a write is durable before it is.
    EarlySync,
    /// Candidates are told that others vote for them who were not asked.
    UncastVotes,
    /// Leaders are told that others have entries that never reached them: they commit with less than a majority.
    MinorityCommits,
    /// What only the leader of a term may do does not say of which term.
    NoTerms,
    /// Reads are of a node's own view, however old.
    StaleReads,
    /// A request is sent again under another request id.
    NewRequestIds,
    /// Watchers lose a change now and then.
    LostChanges,
    /// Nothing stops exclusive containers when the lease ends.
    NoGuard,
    /// Exclusive containers are started by a node's own view, however old, and without a lease.
    NoLease,
}

impl Sabotage {
    /// All of them.
    pub const ALL: &'static [Sabotage] = &[
        Sabotage::EarlySync,
        Sabotage::UncastVotes,
        Sabotage::MinorityCommits,
        Sabotage::NoTerms,
        Sabotage::StaleReads,
        Sabotage::NewRequestIds,
        Sabotage::LostChanges,
        Sabotage::NoGuard,
        Sabotage::NoLease,
    ];
}
