//! One of our members as a process: the store on its files and the members' port over TLS, opened as the daemon opens them, without what
//! else a daemon does. `jaco-bench member <folder>` is told what to do by lines of JSON over `control.sock` in its folder.

mod parts;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use jaco_api::{InternalApi, InternalParts, PortLimits, serve_members};
use jaco_client::Members;
use jaco_controlplane::{ControlPlane, Options, PeerTransport, RaftTarget};
use jaco_identity::{Acceptor, Certificate, Credential, LiveCredential, PrivateKey, ServerOptions, SystemWallClock};
use jaco_state::{Store, Transaction};
use jaco_types::{Claim, ClaimKind, ClusterMeta, DeploymentName, Node, NodeId};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::trust::{CLUSTER, HANDSHAKE_TIMEOUT, INCARNATION, connector};

/// Records in one transaction of [`Order::Fill`], and transactions under way.
const RECORDS: usize = 25;
const FILLERS: u64 = 16;
/// Body of such a record, bytes.
const FILL_BODY: usize = 1000;

/// What a member is told to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Say how it is.
    Report,
    /// Become a cluster of one, with records of these nodes.
    Initialise { nodes: Vec<Node> },
    /// Take a node into the raft group.
    AddLearner { node: u64, address: String },
    /// Make these the voters.
    ChangeVoters { voters: BTreeSet<u64> },
    /// Write records of so many bytes in all.
    Fill { bytes: u64 },
    /// Make a snapshot, and drop the log before it.
    Compact,
    /// Answer when this index is applied.
    Reach { index: u64 },
}

/// How a member is, once it has carried out an order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Condition {
    pub(super) leads: bool,
    pub(super) voters: usize,
    pub(super) applied: u64,
    pub(super) last: u64,
    pub(super) snapshot: u64,
}

/// The process. Ends with a signal, or with the reason why the store could not go on.
pub(crate) fn run(folder: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(folder))
}

async fn serve(folder: &Path) -> anyhow::Result<()> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).with_context(|| format!("no {name}"));
    let node: Node = serde_json::from_str(&read("node.json")?)?;
    let authority = Certificate::from_pem(&read("ca.crt")?)?;
    let certificate = Certificate::from_pem(&read("node.crt")?)?;
    let key = PrivateKey::from_pem(&read("node.key")?)?;
    let credential = LiveCredential::new(Credential::new(&certificate, &key, &authority)?);
    let mut options = Options::new(folder.join("data"), node.id);
    let members = Members::new(connector(&authority, Arc::clone(&credential))?);
    options.transport = Arc::new(PeerTransport(members));
    options.address.clone_from(&node.cluster_address);
    options.incarnation = Some(INCARNATION);
    let listener = TcpListener::bind(&node.cluster_address).await?;
    let store = ControlPlane::open(options).await?;
    let api = InternalApi::new(InternalParts {
        store: Arc::new(store.clone()),
        peers: Arc::new(store.clone()),
        sessions: Arc::new(parts::Nothing),
        signer: Arc::new(parts::Nothing),
        logs: Arc::new(parts::Nothing),
    });
    let acceptor = Acceptor::members(ServerOptions {
        authority,
        credential,
        clock: Arc::new(SystemWallClock),
        handshake_timeout: HANDSHAKE_TIMEOUT,
    })?;
    let (fatal, socket) = (store.fatal(), folder.join("control.sock"));
    tokio::select! {
        served = serve_members(api, listener, acceptor, PortLimits::default(), CancellationToken::new()) => Ok(served?),
        obeyed = obey(&socket, &store) => obeyed,
        fatal = fatal => anyhow::bail!("{}", fatal.reason),
    }
}

async fn obey(socket: &Path, store: &ControlPlane) -> anyhow::Result<()> {
    // One of a process that was killed.
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket)?;
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                conversations.spawn(converse(accepted?.0, store.clone()));
            }
            Some(_ended) = conversations.join_next() => {}
        }
    }
}

async fn converse(stream: UnixStream, store: ControlPlane) -> anyhow::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let order: Order = serde_json::from_str(&line)?;
        let carried_out = carry_out(&store, order).await.map_err(|error| format!("{error:#}"));
        let answer = carried_out.map(|()| condition(&store));
        writer.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await?;
    }
    Ok(())
}

fn condition(store: &ControlPlane) -> Condition {
    let status = store.status();
    Condition {
        // Only a leader that a majority has confirmed is one.
        leads: status.is_leader && status.quorum_acked.is_some(),
        voters: status.voters.len(),
        applied: status.applied_index,
        last: status.last_index,
        snapshot: status.snapshot_index.unwrap_or(0),
    }
}

async fn carry_out(store: &ControlPlane, order: Order) -> anyhow::Result<()> {
    match order {
        Order::Report => {}
        Order::Initialise { nodes } => {
            let mut transaction = Transaction::new("bench");
            for node in nodes {
                transaction.put(node);
            }
            store.initialise(cluster_meta()?, transaction).await?;
        }
        Order::AddLearner { node, address } => {
            store.add_learner(RaftTarget { node_id: NodeId(node), address }).await?;
        }
        Order::ChangeVoters { voters } => {
            store.change_voters(voters.into_iter().map(NodeId).collect()).await?;
        }
        Order::Fill { bytes } => fill(store, bytes).await?,
        Order::Compact => store.compact().await?,
        Order::Reach { index } => {
            store.reached(index).await?;
        }
    }
    Ok(())
}

fn cluster_meta() -> anyhow::Result<ClusterMeta> {
    Ok(ClusterMeta {
        cluster_id: CLUSTER.to_owned(),
        name: "bench".to_owned(),
        incarnation: INCARNATION,
        feature_level: 1,
        created_at_ms: 1,
        ipam_pool: "10.199.0.0/16".parse()?,
        mesh_cidr: "10.198.0.0/16".parse()?,
        node_down_after_ms: 10_000,
    })
}

async fn fill(store: &ControlPlane, bytes: u64) -> anyhow::Result<()> {
    let transactions = bytes.div_ceil((RECORDS * FILL_BODY) as u64);
    let mut fillers: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for filler in 0..FILLERS {
        let store = store.clone();
        fillers.spawn(async move {
            let mut number = filler;
            while number < transactions {
                store.propose(records(number)?).await?;
                number += FILLERS;
            }
            Ok(())
        });
    }
    while let Some(filled) = fillers.join_next().await {
        filled??;
    }
    Ok(())
}

fn records(number: u64) -> anyhow::Result<Transaction> {
    let mut transaction = Transaction::new("bench");
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for record in 0..RECORDS {
        transaction.put(Claim {
            kind: ClaimKind::Port,
            key: format!("{number}/{record}"),
            owner: DeploymentName::new("bench")?,
            detail: noise(&mut state, FILL_BODY),
        });
    }
    Ok(transaction)
}

/// Text that nothing can compress to less than half (xorshift64).
fn noise(state: &mut u64, length: usize) -> String {
    let mut text = String::with_capacity(length + 16);
    while text.len() < length {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    text.truncate(length);
    text
}
