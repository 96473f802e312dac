//! A cluster of real daemons on the hosts of a lab.

use std::time::Duration;

use anyhow::{Context, ensure};
use jaco_e2e::eventually;
use jaco_lab::{Host, JacodOptions, Lab, Output};
use serde_json::Value;

/// `node_down_after` of every cluster here: the shortest there is.
pub(crate) const DOWN_AFTER: Duration = Duration::from_secs(5);

/// Time for all nodes to agree after something was done.
const SETTLED: Duration = Duration::from_secs(40);

/// Time for daemons that are started together.
const STARTED: Duration = Duration::from_secs(60);

/// What the daemons here are started with.
pub(crate) fn options() -> JacodOptions {
    JacodOptions::default().set("node_down_after", "5s").set("log_level", "debug")
}

/// Some hosts of a lab that are one cluster.
pub(crate) struct Cluster<'a> {
    lab: &'a Lab,
    /// What init answered.
    pub(crate) founded: Value,
}

impl<'a> Cluster<'a> {
    /// Init on host 1, joins of hosts 2 to `nodes` through it; returns when all are ready and the voters are as they should be.
    pub(crate) fn form(lab: &'a Lab, nodes: usize) -> anyhow::Result<Cluster<'a>> {
        Cluster::form_of(lab, nodes, &options())
    }

    /// The same with daemons that are started with these options.
    pub(crate) fn form_of(lab: &'a Lab, nodes: usize, options: &JacodOptions) -> anyhow::Result<Cluster<'a>> {
        for number in 1..=nodes {
            lab.host(number).spawn_jacod(options)?;
        }
        for number in 1..=nodes {
            lab.host(number).jacod().wait_until_up(STARTED)?;
        }
        let cluster = Cluster::found(lab, &[])?;
        for number in 2..=nodes {
            cluster.add(number, 1)?;
        }
        cluster.settled(&(1..=nodes).collect::<Vec<_>>())?;
        Ok(cluster)
    }

    /// A cluster of host 1 alone, with more arguments for init.
    pub(crate) fn found(lab: &'a Lab, arguments: &[&str]) -> anyhow::Result<Cluster<'a>> {
        let first = lab.host(1);
        if !first.jacod().is_running() {
            first.start_jacod(&options())?;
        }
        let mut all = vec!["cluster", "init", "--no-systemd-enable"];
        all.extend(arguments);
        let founded = first.jaco_json(&all)?;
        Ok(Cluster { lab, founded })
    }

    /// Starts a daemon on a host and has it join through a member.
    pub(crate) fn add(&self, number: usize, peer: usize) -> anyhow::Result<()> {
        let host = self.host(number);
        if !host.jacod().is_running() {
            host.start_jacod(&options())?;
        }
        let token = self.token(peer, &[])?;
        join(host, self.host(peer), &token)?.ok().with_context(|| format!("host{number} joins"))?;
        Ok(())
    }

    /// A new join token, issued on this host.
    pub(crate) fn token(&self, number: usize, arguments: &[&str]) -> anyhow::Result<String> {
        let mut all = vec!["node", "issue-join-token"];
        all.extend(arguments);
        let answer = self.host(number).jaco_json(&all)?;
        answer["token"].as_str().map(str::to_owned).with_context(|| format!("no token: {answer}"))
    }

    pub(crate) fn host(&self, number: usize) -> &'a Host {
        self.lab.host(number)
    }

    pub(crate) fn hosts(&self, numbers: &[usize]) -> Vec<&'a Host> {
        numbers.iter().map(|number| self.lab.host(*number)).collect()
    }

    /// Waits until each of these hosts says that exactly they are members, all ready, with one leader and the voters of the policy.
    pub(crate) fn settled(&self, numbers: &[usize]) -> anyhow::Result<()> {
        for number in numbers {
            self.settled_as_seen_by(*number, numbers)?;
        }
        Ok(())
    }

    fn settled_as_seen_by(&self, number: usize, members: &[usize]) -> anyhow::Result<()> {
        let what = format!("host{number} sees the members {members:?}, ready, with {} voters", voters(members.len()));
        eventually(SETTLED, &what, || {
            let status = cluster_status(self.host(number)).map_err(|error| format!("{error:#}"))?;
            let mut names: Vec<&str> = nodes(&status).iter().filter_map(|node| node["hostname"].as_str()).collect();
            names.sort_unstable();
            let wanted: Vec<String> = members.iter().map(|member| format!("host{member}")).collect();
            let ready = nodes(&status).iter().all(|node| node["status"] == "ready");
            let led = status["leader"].as_str().is_some_and(|leader| !leader.is_empty());
            if names == wanted && ready && led && count_voters(&status) == voters(members.len()) {
                Ok(())
            } else {
                Err(status.to_string())
            }
        })
    }

    /// Number of the host that leads, as these hosts say; waits until they agree.
    pub(crate) fn leader(&self, asked: &[usize]) -> anyhow::Result<usize> {
        eventually(Duration::from_secs(20), &format!("hosts {asked:?} name one leader among them"), || {
            let mut leaders = Vec::new();
            for number in asked {
                let status = cluster_status(self.host(*number)).map_err(|error| format!("{error:#}"))?;
                leaders.push(status["leader"].as_str().unwrap_or_default().to_owned());
            }
            leaders.dedup();
            let [one] = leaders.as_slice() else { return Err(format!("{leaders:?}")) };
            let number = one.strip_prefix("host").and_then(|number| number.parse().ok());
            number.filter(|number| asked.contains(number)).ok_or_else(|| format!("{leaders:?}"))
        })
    }

    /// Waits until a host says that a node is in one of these states; gives the time it took.
    pub(crate) fn node_becomes(
        &self,
        asked: usize,
        node: usize,
        states: &[&str],
        deadline: Duration,
    ) -> anyhow::Result<Duration> {
        let begin = std::time::Instant::now();
        let name = format!("host{node}");
        eventually(deadline, &format!("host{asked} says that {name} is {states:?}"), || {
            let status = cluster_status(self.host(asked)).map_err(|error| format!("{error:#}"))?;
            let found = nodes(&status).iter().find(|one| one["hostname"] == name.as_str());
            let state = found.and_then(|node| node["status"].as_str()).unwrap_or("no member").to_owned();
            if states.contains(&state.as_str()) { Ok(()) } else { Err(format!("{name} is {state}; {status}")) }
        })?;
        Ok(begin.elapsed())
    }
}

/// A condition of a node, as a status tells it.
pub(crate) fn condition(status: &Value, node: usize, condition: &str) -> Option<String> {
    let name = format!("host{node}");
    let node = nodes(status).iter().find(|one| one["hostname"] == name.as_str())?;
    node["status_details"][condition].as_str().map(str::to_owned)
}

/// Waits until a host says that a node has this condition, or has it no more; gives the time it took.
pub(crate) fn condition_becomes(asked: &Host, node: usize, name: &str, there: bool) -> anyhow::Result<Duration> {
    let begin = std::time::Instant::now();
    let what = format!("{} says that host{node} has the condition {name}: {there}", asked.name());
    eventually(Duration::from_secs(20), &what, || {
        let status = cluster_status(asked).map_err(|error| format!("{error:#}"))?;
        if condition(&status, node, name).is_some() == there { Ok(()) } else { Err(status.to_string()) }
    })?;
    Ok(begin.elapsed())
}

/// Voters by the contract's table.
pub(crate) fn voters(members: usize) -> usize {
    match members {
        0..=2 => members.min(1),
        3..=6 => members - (members + 1) % 2,
        _ => 7,
    }
}

/// `cluster status` of a host. The deadline is short: a host without a leader has to answer, too.
pub(crate) fn cluster_status(host: &Host) -> anyhow::Result<Value> {
    let text = host.jaco_within(Duration::from_secs(15), &["-o", "json", "cluster", "status"])?.ok()?;
    serde_json::from_str(&text).with_context(|| text.clone())
}

/// The members in a status.
pub(crate) fn nodes(status: &Value) -> &[Value] {
    status["nodes"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn count_voters(status: &Value) -> usize {
    nodes(status).iter().filter(|node| node["suffrage"] == "voter").count()
}

/// Has a host join through a member, whatever the outcome.
pub(crate) fn join(host: &Host, peer: &Host, token: &str) -> anyhow::Result<Output> {
    let peer = format!("{}:7000", peer.address());
    host.jaco(&["-o", "json", "node", "join", "--no-systemd-enable", "--peer", &peer, "--token", token])
}

/// Fails unless the command ended with this exit code and one of these error codes; gives the error.
pub(crate) fn refusal(output: &Output, exit: i32, codes: &[&str]) -> anyhow::Result<Value> {
    let said = format!("it ended with {}\nstdout: {}\nstderr: {}", output.status, output.stdout, output.stderr);
    let line = output.stderr.lines().find(|line| line.starts_with("{\"error\""));
    let value: Value = serde_json::from_str(line.with_context(|| format!("no error object; {said}"))?)?;
    let code = value["error"]["code"].as_str().unwrap_or_default();
    ensure!(codes.contains(&code) && output.status == exit, "{codes:?} with exit code {exit} expected; {said}");
    Ok(value["error"].clone())
}

/// Runs `jaco -o json` on a host and expects such an end.
pub(crate) fn refused(host: &Host, arguments: &[&str], exit: i32, codes: &[&str]) -> anyhow::Result<Value> {
    let mut all = vec!["-o", "json"];
    all.extend(arguments);
    refusal(&host.jaco(&all)?, exit, codes).with_context(|| format!("jaco {} on {}", arguments.join(" "), host.name()))
}

/// Ends the daemon of a running host and removes all that a cluster left there: the host is as new.
pub(crate) fn erase(host: &Host) -> anyhow::Result<()> {
    if host.jacod().is_running() {
        host.jacod().kill9()?;
    }
    host.wait_for_docker(Duration::from_secs(60))?;
    let script = "containers=$(docker ps --all --quiet)\n[ -z \"$containers\" ] || docker rm --force --volumes $containers\n\
                  networks=$(docker network ls --quiet --filter type=custom)\n[ -z \"$networks\" ] || docker network rm $networks\n\
                  ip address flush dev eth0 secondary\nfind /var/lib/jaco -mindepth 1 -delete";
    host.run(&["sh", "-ec", script])?.ok().map(|_| ()).context("clearing a host")
}
