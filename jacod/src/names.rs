//! The daemon's tasks by name, and the order in which they stop.

/// Task that keeps desired replicas in line with deployments.
pub(crate) const SCHEDULER: &str = "scheduler";
pub(crate) const SCHEDULER_WAKE: &str = "scheduler-wake";
pub(crate) const RUNTIME: &str = "runtime";
pub(crate) const ROUTES: &str = "ingress-routes";
pub(crate) const PORTS: &str = "ingress-ports";
pub(crate) const API: &str = "api";
pub(crate) const METRICS: &str = "metrics";
pub(crate) const MEMBERS: &str = "members";
pub(crate) const API_TLS: &str = "api-tls";
pub(crate) const CERTIFICATE: &str = "node-certificate";
/// Task that keeps the cluster's data key one that only members have.
pub(crate) const DATA_KEY: &str = "data-key";
pub(crate) const SESSION: &str = "session";
pub(crate) const STORE: &str = "store";

/// The order in which tasks stop: first what takes requests, then what acts on them.
pub(crate) const STOP_ORDER: &[&str] = &[
    API,
    API_TLS,
    SCHEDULER_WAKE,
    SCHEDULER,
    RUNTIME,
    ROUTES,
    PORTS,
    METRICS,
    CERTIFICATE,
    DATA_KEY,
    SESSION,
    MEMBERS,
    STORE,
];
