//! `debug`: what somebody who was not there needs to find out what is wrong, in one file, without any secret.
//!
//! Neither manifests nor environment variables are asked for. What the daemons send is chosen by them for this purpose.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use jaco_client::{Client, Deadline, Endpoint};
use jaco_proto::v1::{
    AuditQueryRequest, ClusterStatusRequest, ClusterStatusResponse, DiagnoseRequest, DiagnoseResponse,
    GetReplicasRequest, NodeStatusRequest, StatusRequest,
};
use jaco_types::{ErrorCode, UserError};
use serde::Serialize;
use serde_json::json;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::version::VERSION;
use crate::bundle::Bundle;
use crate::doctor::{DEFAULT_PATH, Places, Report, evaluate, gather};
use crate::failure::Failure;
use crate::private_file;
use crate::session::Session;
use crate::view::audit::Event;
use crate::view::cluster::Cluster;
use crate::view::debug::{Debug, Node};
use crate::view::node::Node as NodeView;
use crate::view::replica;
use crate::view::status::Status;

/// Default deadline, for everything.
const WHOLE: Duration = Duration::from_secs(60);
/// One node has this long.
const ONE: Duration = Duration::from_secs(20);
/// So has each look at the cluster, and at this machine.
const LOOK: Duration = Duration::from_secs(10);
/// Lines of the journal that are kept.
const JOURNAL_LINES: &str = "5000";
/// Events of the audit log that are kept, the newest.
const EVENTS: usize = 2_000;

/// Arguments of `debug`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to write the bundle [default: jaco-debug-<name>-<time>.tar.gz here].
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Only of this node; may be given several times [default: all that answer].
    #[arg(long = "node", value_name = "HOSTNAME")]
    nodes: Vec<String>,
}

pub async fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let deadline = session.deadline(WHOLE);
    let client = session.connect().await?;
    let cluster = client.cluster_status(ClusterStatusRequest {}, within(deadline, LOOK)).await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = file_name(&cluster, now.as_secs());
    let path = arguments.file.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.tar.gz")));
    if path.exists() {
        let text = format!("--file {}: it exists already", path.display());
        return Err(UserError::new(ErrorCode::Usage, text).with("path", path.display()).into());
    }
    let targets = targets(&cluster, &arguments.nodes)?;
    let mut bundle = Bundle::new(&name, now.as_secs());
    let nodes = collect_nodes(&client, targets, deadline, &mut bundle).await?;
    if cluster.initialized {
        collect_cluster(&client, cluster, deadline, &mut bundle).await?;
    }
    if matches!(client.endpoint(), Endpoint::Socket(_)) {
        collect_machine(session, &mut bundle).await?;
    }
    let about = json!({
        "made_at": crate::text::timestamp(now.as_secs() * 1000),
        "jaco": { "version": VERSION, "commit": env!("JACO_COMMIT"), "built_at": env!("JACO_BUILT_AT") },
        "asked": client.endpoint().to_string(),
        "nodes": nodes,
    });
    bundle.add_json("about.json", &about)?;
    let bytes = bundle.finish()?;
    private_file::write(&path, &bytes)?;
    for node in &nodes {
        if let Some(error) = &node.error {
            session.warn(&format!("nothing of {} is in the bundle: {error}", node.hostname));
        }
    }
    session.printer().show(&Debug { path: path.display().to_string(), bytes: bytes.len(), nodes })?;
    session.note("Note: manifests, environment variables and secrets are left out; hosts, images and domains are in it, so look through it before you give it away.");
    Ok(())
}

/// A part of the deadline.
fn within(deadline: Deadline, part: Duration) -> Deadline {
    Deadline::after(deadline.left().map_or(part, |left| left.min(part)))
}

fn file_name(cluster: &ClusterStatusResponse, seconds: u64) -> String {
    let name = if cluster.cluster_name.is_empty() { "node" } else { &cluster.cluster_name };
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    let time: String = crate::text::timestamp(seconds * 1000).chars().filter(char::is_ascii_alphanumeric).collect();
    format!("jaco-debug-{name}-{time}")
}

/// The nodes to ask; an empty name is the one that answers.
fn targets(cluster: &ClusterStatusResponse, wanted: &[String]) -> Result<BTreeSet<String>, UserError> {
    let known: BTreeSet<&str> = cluster.nodes.iter().map(|node| node.hostname.as_str()).collect();
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(name.as_str())) {
        let text = format!("no node is named {unknown}; `jaco node list` shows those there are");
        return Err(UserError::new(ErrorCode::NodeNotFound, text).with("hostname", unknown));
    }
    Ok(match (wanted, known.is_empty()) {
        ([], true) => [String::new()].into(),
        ([], false) => known.into_iter().map(str::to_owned).collect(),
        (wanted, _) => wanted.iter().cloned().collect(),
    })
}

/// What one node says of itself.
struct Told {
    target: String,
    diagnosis: Result<DiagnoseResponse, UserError>,
    status: Result<NodeView, UserError>,
}

async fn ask(client: Client, target: String, deadline: Deadline) -> Told {
    let diagnosis = client.diagnose(DiagnoseRequest { hostname: target.clone() }, deadline).await;
    let status = match &diagnosis {
        Ok(_) => client.node_status(NodeStatusRequest { hostname: target.clone() }, deadline).await,
        Err(error) => Err(error.clone()),
    };
    Told { target, diagnosis, status: status.and_then(NodeView::try_from) }
}

/// Asks all nodes at once.
///
/// Errors: `permission_denied` and the like, when that is what every node says.
async fn collect_nodes(
    client: &Client,
    targets: BTreeSet<String>,
    deadline: Deadline,
    bundle: &mut Bundle,
) -> Result<Vec<Node>, UserError> {
    let mut asking = JoinSet::new();
    for target in targets {
        asking.spawn(ask(client.clone(), target, within(deadline, ONE)));
    }
    let mut nodes = Vec::new();
    let mut refusal = None;
    while let Some(told) = asking.join_next().await {
        let Told { target, diagnosis, status } =
            told.map_err(|error| UserError::internal("a node could not be asked", error))?;
        match diagnosis {
            Ok(diagnosis) => {
                let host = diagnosis.hostname;
                for file in diagnosis.files {
                    bundle.add(&format!("nodes/{host}/{}", file.name), &file.data)?;
                }
                add_or_say(bundle, &format!("nodes/{host}/status"), status)?;
                nodes.push(Node { hostname: host, collected: true, error: None });
            }
            Err(error) => {
                let hostname = if target.is_empty() { "the node that answers".to_owned() } else { target };
                nodes.push(Node { hostname, collected: false, error: Some(error.message.clone()) });
                refusal = Some(error).filter(|error| error.code.exit_code() == 5).or(refusal);
            }
        }
    }
    nodes.sort_by(|a, b| a.hostname.cmp(&b.hostname));
    match refusal {
        Some(error) if nodes.iter().all(|node| !node.collected) => Err(error),
        Some(_) | None => Ok(nodes),
    }
}

/// Adds what was asked for, or why it is not there.
fn add_or_say<T: Serialize>(bundle: &mut Bundle, path: &str, value: Result<T, UserError>) -> Result<(), UserError> {
    match value {
        Ok(value) => bundle.add_json(&format!("{path}.json"), &value),
        Err(error) => bundle.add(&format!("{path}.error.txt"), format!("{error}\n").as_bytes()),
    }
}

async fn collect_cluster(
    client: &Client,
    cluster: ClusterStatusResponse,
    deadline: Deadline,
    bundle: &mut Bundle,
) -> Result<(), UserError> {
    add_or_say(bundle, "cluster/cluster", Cluster::try_from(cluster))?;
    let status = client.status(StatusRequest::default(), within(deadline, LOOK)).await;
    add_or_say(bundle, "cluster/status", status.and_then(Status::try_from))?;
    let replicas = client.get_replicas(GetReplicasRequest::default(), within(deadline, LOOK)).await;
    add_or_say(bundle, "cluster/replicas", replicas.and_then(replica::List::try_from))?;
    add_or_say(bundle, "cluster/audit", events(client, within(deadline, LOOK)).await)
}

/// The newest events of the audit log.
async fn events(client: &Client, deadline: Deadline) -> Result<Vec<Event>, UserError> {
    let mut stream = client.audit(AuditQueryRequest::default(), deadline).await?;
    let mut events = Vec::new();
    let late = || UserError::new(ErrorCode::Unreachable, "the audit log did not arrive in time");
    while let Some(message) = deadline.limit(stream.next()).await.ok_or_else(late)?? {
        events.extend(message.events.into_iter().map(Event::from));
    }
    Ok(events.split_off(events.len().saturating_sub(EVENTS)))
}

/// What only this machine can tell: whether it has what a node needs, and the journal of the daemon's lives before.
async fn collect_machine(session: &Session<'_>, bundle: &mut Bundle) -> Result<(), UserError> {
    let config = session.daemon_config().unwrap_or_else(|| DEFAULT_PATH.into());
    let places = Places { config, data_dir: None, docker_socket: None };
    let late = || UserError::new(ErrorCode::Unreachable, "this machine could not be looked at in time");
    let report = Deadline::after(LOOK).limit(gather(&places)).await.ok_or_else(late);
    add_or_say(bundle, "machine/doctor", report.map(|facts| Report::new(evaluate(&facts))))?;
    let mut journal = Command::new("journalctl");
    journal.args(["-u", "jaco", "-n", JOURNAL_LINES, "--no-pager", "-o", "short-iso-precise"]).kill_on_drop(true);
    // A machine without a journal has the log of the daemon's present life only.
    match Deadline::after(LOOK).limit(journal.output()).await {
        Some(Ok(output)) if output.status.success() => bundle.add("machine/journal.txt", &output.stdout),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use jaco_proto::v1::Member;

    use super::*;

    fn cluster(names: &[&str]) -> ClusterStatusResponse {
        let nodes = names.iter().map(|name| Member { hostname: (*name).into(), ..Member::default() }).collect();
        ClusterStatusResponse { cluster_name: "my prod/1".into(), nodes, ..ClusterStatusResponse::default() }
    }

    #[test]
    fn all_nodes_are_asked_unless_some_are_named() {
        let asked = |names: &[&str], wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            targets(&cluster(names), &wanted).map(|found| found.into_iter().collect::<Vec<_>>().join(","))
        };
        assert_eq!(asked(&["n1", "n2"], &[]).unwrap(), "n1,n2");
        assert_eq!(asked(&["n1", "n2"], &["n2", "n2"]).unwrap(), "n2");
        assert_eq!(asked(&[], &[]).unwrap(), "", "the one that answers");
        assert_eq!(asked(&["n1"], &["n3"]).unwrap_err().code, ErrorCode::NodeNotFound);
    }

    #[test]
    fn the_file_is_named_after_cluster_and_time() {
        assert_eq!(file_name(&cluster(&[]), 1_700_000_000), "jaco-debug-my-prod-1-20231114T221320Z");
        assert_eq!(file_name(&ClusterStatusResponse::default(), 0), "jaco-debug-node-19700101T000000Z");
    }
}
