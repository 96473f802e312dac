//! This node's session with the leader: what it says of itself, and what it hears.

use std::sync::Arc;

use futures_util::StreamExt;
use jaco_api::{AnswerStream, MemberCaller, SessionHost};
use jaco_controlplane::{
    ControlPlane, HostSampler, Lease, NodeSample, SessionEvents, SessionIdentity, SessionSource, SessionTable,
    SyncMeter,
};
use jaco_proto::v1;
use jaco_runtime::{LeaseHandle, Runtime};
use jaco_state::BoxFuture;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::config::Config;
use crate::contact::Contact;
use crate::record::own_record;

/// The leader's side: sessions of other nodes end in the table.
pub(crate) struct TableHost(pub(crate) SessionTable);

impl SessionHost for TableHost {
    fn session(
        &self,
        caller: MemberCaller,
        messages: Streaming<v1::SessionRequest>,
    ) -> BoxFuture<'_, Result<AnswerStream<v1::SessionResponse>, Status>> {
        // A connection that broke ends the messages, as a closed one does.
        let messages = messages
            .take_while(|message| std::future::ready(message.is_ok()))
            .filter_map(|message| std::future::ready(message.ok()));
        let answers = self.0.serve(caller.node, Box::pin(messages)).map(Ok);
        Box::pin(async move { Ok(Box::pin(answers) as AnswerStream<_>) })
    }
}

/// What this node says of itself.
pub(crate) struct NodeFacts {
    control_plane: ControlPlane,
    runtime: Arc<Runtime>,
    config: Config,
    host: HostSampler,
    syncs: SyncMeter,
}

impl NodeFacts {
    pub(crate) fn new(control_plane: ControlPlane, runtime: Arc<Runtime>, config: Config) -> Self {
        let host = HostSampler::new(config.node_status_interval);
        NodeFacts { control_plane, runtime, config, host, syncs: SyncMeter::default() }
    }
}

impl SessionSource for NodeFacts {
    fn identity(&self) -> SessionIdentity {
        let own = own_record(&self.config, self.control_plane.node_id(), 0);
        let (nano_cpus, memory_bytes) = HostSampler::capacity();
        SessionIdentity {
            incarnation: self.control_plane.incarnation(),
            version: own.version,
            feature_level: self.control_plane.feature_level(),
            address: own.address,
            grpc_address: own.grpc_address,
            cluster_address: own.cluster_address,
            nano_cpus,
            memory_bytes,
        }
    }

    fn sample(&self) -> NodeSample {
        let (cpu, memory) = self.host.sample().unzip();
        let log = self.control_plane.status().log;
        let (sync, disk_full) = (self.syncs.sample(&log), log.disk_full);
        NodeSample { reconciled: self.runtime.is_reconciled(), cpu, memory, sync, disk_full }
    }
}

/// What a session brings.
pub(crate) struct SessionNews {
    pub(crate) lease: LeaseHandle,
    pub(crate) contact: Contact,
    pub(crate) removed: CancellationToken,
}

impl SessionEvents for SessionNews {
    fn confirmed(&self) {
        self.contact.note();
    }

    fn lease(&self, lease: Lease) {
        self.lease.renew(jaco_runtime::Lease { until: lease.until, stop_within: lease.stop_within });
    }

    fn removed(&self) {
        self.removed.cancel();
    }
}
