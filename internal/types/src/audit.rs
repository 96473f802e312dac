//! The types of audit events.

/// Every type an event of the audit log may have. Who leaves a new type of event adds it here; only these can be asked for.
pub const AUDIT_TYPES: [&str; 33] = [
    "apply",
    "delete",
    "rollback",
    "node_join",
    "node_remove",
    "token_issue",
    "token_revoke",
    "certificate_issued",
    "certificate_renewed",
    "certificate_failed",
    "isolation_ruleset_reconciled",
    "isolation_unavailable",
    "backup_taken",
    "restore_completed",
    "upgrade_succeeded",
    "upgrade_failed",
    "rollout_invariant_hold",
    "registry_credential_upsert",
    "registry_credential_remove",
    "privileged_workload_admitted",
    "rebalance_moved",
    "rebalance_skipped",
    "node_down",
    "node_recovered",
    "replica_rescheduled",
    "rollout_aborted",
    "join_token_issued",
    "cert_rotated",
    "key_rotated",
    "node_drain",
    "node_uncordon",
    "cluster_recovered",
    "feature_level_raised",
];

/// The type of that name, letter case ignored.
pub fn audit_type(name: &str) -> Option<&'static str> {
    AUDIT_TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_in_any_case_and_stand_once() {
        assert_eq!(audit_type("Node_Join"), Some("node_join"));
        assert_eq!([audit_type("aplly"), audit_type("")], [None, None]);
        let distinct: std::collections::BTreeSet<_> = AUDIT_TYPES.into_iter().collect();
        assert_eq!(distinct.len(), AUDIT_TYPES.len());
    }
}
