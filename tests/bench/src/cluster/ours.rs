//! Our members from the driver's side: starting them, giving them orders, writing through them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use jaco_client::Members;
use jaco_controlplane::{PeerRequest, PeerResponse};
use jaco_e2e::eventually;
use jaco_identity::Connector;
use jaco_state::{Command as StoreCommand, Transaction};
use jaco_types::{NodeId, NodeState, NodeStatus};

use super::member::{Condition, Order};
use super::trust::{INCARNATION, Identity, Trust};
use super::{Cluster, MEMBERS, PATIENCE, WRITE_DEADLINE};
use crate::node::free_addresses;
use crate::process::Process;

/// Longest that one order may take: filling a store with 100 MiB.
const ORDER_DEADLINE: Duration = Duration::from_secs(150);
/// Node number of the first client: a client is a member of the cluster without a vote or a store.
const CLIENT: u64 = 100;

/// One process and how to reach it.
struct Member {
    number: u64,
    address: SocketAddr,
    folder: PathBuf,
    process: Option<Process>,
}

impl Member {
    fn start(trust: &Trust, identity: &Identity, address: SocketAddr, parent: &Path) -> anyhow::Result<Member> {
        let number = identity.node.id.0;
        let folder = parent.join(format!("m{number}"));
        std::fs::create_dir(&folder)?;
        trust.write(identity, &folder)?;
        std::fs::write(folder.join("node.json"), serde_json::to_string(&identity.node)?)?;
        let mut member = Member { number, address, folder, process: None };
        member.run()?;
        Ok(member)
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("member").arg(&self.folder);
        self.process = Some(Process::start(command, &self.folder.join("log"))?);
        eventually(PATIENCE, "our member answers", || {
            self.order(&Order::Report).map_err(|error| format!("{error:#}; {}", self.log()))
        })?;
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn order(&self, order: &Order) -> anyhow::Result<Condition> {
        let mut stream = UnixStream::connect(self.folder.join("control.sock"))?;
        stream.set_read_timeout(Some(ORDER_DEADLINE))?;
        writeln!(stream, "{}", serde_json::to_string(order)?)?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let answer: Result<Condition, String> = serde_json::from_str(&line).context("the member gave no answer")?;
        answer.map_err(|reason| anyhow::anyhow!("member {}: {reason}", self.number))
    }

    fn add(&self, learner: &Member) -> anyhow::Result<()> {
        let order = Order::AddLearner { node: learner.number, address: learner.address.to_string() };
        self.order(&order).map(|_| ())
    }
}

/// Three members of ours.
pub(crate) struct Ours {
    members: Vec<Member>,
    client: NodeId,
    connector: Connector,
    // Last: the processes end before their folder goes.
    _folder: tempfile::TempDir,
}

impl Ours {
    /// Starts them, and makes them one cluster with three voters.
    pub(crate) fn start() -> anyhow::Result<Ours> {
        let folder = tempfile::Builder::new().prefix("ours-").tempdir()?;
        let trust = Trust::new()?;
        let addresses = free_addresses::<MEMBERS>()?;
        let (mut members, mut nodes) = (Vec::new(), Vec::new());
        for (number, address) in (1..).zip(addresses) {
            let identity = trust.node(number, address)?;
            members.push(Member::start(&trust, &identity, address, folder.path())?);
            nodes.push(identity.node);
        }
        let [first, others @ ..] = members.as_slice() else { bail!("no members") };
        let client = trust.node(CLIENT, first.address)?;
        nodes.push(client.node.clone());
        first.order(&Order::Initialise { nodes })?;
        for other in others {
            first.add(other)?;
        }
        let voters: BTreeSet<u64> = members.iter().map(|member| member.number).collect();
        first.order(&Order::ChangeVoters { voters })?;
        let connector = trust.connector(&client)?;
        let ours = Ours { members, client: client.node.id, connector, _folder: folder };
        eventually(PATIENCE, "all our members vote", || {
            let voting = ours
                .members
                .iter()
                .all(|member| member.order(&Order::Report).is_ok_and(|condition| condition.voters == MEMBERS));
            if voting { Ok(()) } else { Err("not all of them know it yet".to_owned()) }
        })?;
        Ok(ours)
    }

    fn member(&self, which: usize) -> anyhow::Result<&Member> {
        self.members.get(which).context("no such member")
    }

    fn conditions(&self) -> impl Iterator<Item = (usize, Condition)> {
        let running = self.members.iter().enumerate().filter(|(_, member)| member.process.is_some());
        running.filter_map(|(which, member)| Some((which, member.order(&Order::Report).ok()?)))
    }
}

impl Cluster for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn leader(&self) -> anyhow::Result<usize> {
        let mut leads = self.conditions().filter(|(_, condition)| condition.leads);
        leads.next().map(|(which, _)| which).context("none of our members leads")
    }

    fn last_index(&self) -> anyhow::Result<u64> {
        self.conditions().map(|(_, condition)| condition.last).max().context("none of our members answers")
    }

    fn kill(&mut self, which: usize) -> anyhow::Result<()> {
        let member = self.members.get_mut(which).context("no such member")?;
        member.process.take().map_or(Ok(()), Process::kill)
    }

    fn restart(&mut self, which: usize) -> anyhow::Result<()> {
        self.members.get_mut(which).context("no such member")?.run()?;
        let last = self.last_index()?;
        self.member(which)?.order(&Order::Reach { index: last }).map(|_| ())
    }

    fn writer(&self, which: usize) -> anyhow::Result<super::Writer> {
        let member = self.member(which)?;
        Ok(super::Writer::Ours(Box::new(Writer {
            members: Members::new(self.connector.clone()),
            from: self.client,
            to: NodeId(member.number),
            address: member.address.to_string(),
        })))
    }

    fn processes(&self) -> Vec<&Process> {
        self.members.iter().filter_map(|member| member.process.as_ref()).collect()
    }
}

/// A client of one of our members.
#[derive(Clone)]
pub(crate) struct Writer {
    members: Members,
    from: NodeId,
    to: NodeId,
    address: String,
}

impl Writer {
    /// Writes a record as an operator at a member's socket would have it written: any member takes it, and judges or sends it on.
    pub(super) async fn write(&self, value: String) -> anyhow::Result<()> {
        let mut transaction = Transaction::new("local");
        let details = BTreeMap::from([("bench".to_owned(), value)]);
        transaction.put(NodeStatus { id: self.from, state: NodeState::Ready, details });
        let command = StoreCommand::new(transaction)?;
        let request = PeerRequest::propose(INCARNATION, self.from, self.to, &command).encode();
        let answer = self.members.call(self.to, &self.address, request, WRITE_DEADLINE).await?;
        let answer = PeerResponse::decode(answer)?;
        if answer.committed().is_none() {
            bail!("not written: {:?}", answer.refusal());
        }
        Ok(())
    }
}

/// A cluster of one that gets a learner later.
pub(crate) struct Single {
    trust: Trust,
    first: Member,
    folder: tempfile::TempDir,
}

/// What the installation of a snapshot came to.
pub(crate) struct Installed {
    /// From taking the learner in until it has applied everything.
    pub(crate) took: Duration,
    /// Processor time of leader and learner meanwhile, seconds.
    pub(crate) processor: (f64, f64),
    /// Its file on the leader's disk.
    pub(crate) snapshot: PathBuf,
}

impl Single {
    /// Starts it.
    pub(crate) fn start() -> anyhow::Result<Single> {
        let folder = tempfile::Builder::new().prefix("single-").tempdir()?;
        let trust = Trust::new()?;
        let [address] = free_addresses::<1>()?;
        let identity = trust.node(1, address)?;
        let first = Member::start(&trust, &identity, address, folder.path())?;
        first.order(&Order::Initialise { nodes: vec![identity.node] })?;
        Ok(Single { trust, first, folder })
    }

    /// Fills the store, and has it kept as a snapshot with no log before it.
    pub(crate) fn fill(&self, bytes: u64) -> anyhow::Result<()> {
        self.first.order(&Order::Fill { bytes })?;
        self.first.order(&Order::Compact).map(|_| ())
    }

    /// A fresh learner gets the state. It ends with this call.
    pub(crate) fn install(&self, number: u64) -> anyhow::Result<Installed> {
        let [address] = free_addresses::<1>()?;
        let identity = self.trust.node(number, address)?;
        let learner = Member::start(&self.trust, &identity, address, self.folder.path())?;
        let index = self.first.order(&Order::Report)?.applied;
        let processor = |member: &Member| -> anyhow::Result<f64> {
            crate::process::processor_seconds(member.process.as_ref().context("it ended")?.id())
        };
        let before = (processor(&self.first)?, processor(&learner)?);
        let begun = std::time::Instant::now();
        self.first.add(&learner)?;
        let condition = learner.order(&Order::Reach { index })?;
        let took = begun.elapsed();
        if condition.snapshot == 0 {
            bail!("the learner was brought up by entries, not by a snapshot");
        }
        let processor = (processor(&self.first)? - before.0, processor(&learner)? - before.1);
        Ok(Installed { took, processor, snapshot: newest_snapshot(&self.first.folder.join("data/raft/snapshots"))? })
    }
}

fn newest_snapshot(folder: &Path) -> anyhow::Result<PathBuf> {
    let files = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    // Names hold the index in as many digits each, so the last in order is the newest.
    files.filter(|path| path.extension().is_some_and(|end| end == "snap")).max().context("no snapshot on the disk")
}
