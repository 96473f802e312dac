//! (k) Three hosts of the lab with the real programs and the daemon's defaults: how long a join takes, and how long until what a killed
//! host ran is run by the others.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::{Project, eventually, web_compose, web_jaco};
use jaco_lab::{Capability, Host, JacodOptions, Lab, LabOptions, LockError, can_run};
use serde_json::{Value, json};

use crate::report::{Bar, Figure, Measure, Report};
use crate::stats::{median, quantile};
use crate::{Settings, say};

const HOSTS: usize = 3;
const REPLICAS: usize = 3;
/// Silence after which a node is down, by default; a replacement has this and five seconds.
const DOWN_AFTER: f64 = 10.0;
const LONG: Duration = Duration::from_secs(90);
const TITLE: &str = "(k) joins, and a killed host";

pub(crate) fn run(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    if !can_run(TITLE, &[Capability::Docker, Capability::Busybox]) {
        report.skip(TITLE, "it needs root, namespaces, dockerd and busybox");
        return Ok(());
    }
    let lab = match Lab::start(LabOptions { hosts: HOSTS, ..LabOptions::default() }) {
        Ok(lab) => lab,
        Err(error) if error.is::<LockError>() => {
            report.skip(TITLE, "another lab is up on this machine");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    lab.build_web_image()?;
    let joins = form(&lab)?;
    let project = Project::new(&web_jaco("bench", REPLICAS as u32), &web_compose("bench"))?;
    lab.host(1).jaco_json(&["apply", &project.jaco(), "--wait", "--timeout", "90s"])?;
    let (mut followers, mut leaders) = (Vec::new(), Vec::new());
    for round in 0..settings.rounds(3, 1) {
        for (victim, replaced) in [(Victim::Follower, &mut followers), (Victim::Leader, &mut leaders)] {
            let took = replacement(&lab, victim)?;
            say(&format!("  round {}: {} replaced after {took:.2} s", round + 1, victim.name()));
            replaced.push(took);
        }
    }
    add_figures(report, &joins, &[(Victim::Follower, followers), (Victim::Leader, leaders)]);
    Ok(())
}

/// Which host is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Follower,
    Leader,
}

impl Victim {
    fn name(self) -> &'static str {
        match self {
            Victim::Follower => "host",
            Victim::Leader => "leader's host",
        }
    }
}

/// One join: until the command returns, and until the first host says that the node is ready, seconds.
struct Join {
    command: f64,
    ready: f64,
}

fn form(lab: &Lab) -> anyhow::Result<Vec<Join>> {
    let first = lab.host(1);
    first.start_jacod(&JacodOptions::default())?;
    first.jaco_json(&["cluster", "init", "--no-systemd-enable"])?;
    let peer = format!("{}:7000", first.address());
    let mut joins = Vec::new();
    for number in 2..=HOSTS {
        let host = lab.host(number);
        host.start_jacod(&JacodOptions::default())?;
        let issued = first.jaco_json(&["node", "issue-join-token"])?;
        let token = issued["token"].as_str().context("no token was issued")?;
        let begun = Instant::now();
        host.jaco_json(&["node", "join", "--no-systemd-enable", "--peer", &peer, "--token", token])?;
        let command = begun.elapsed().as_secs_f64();
        ready(first, host)?;
        let ready = begun.elapsed().as_secs_f64();
        say(&format!("  {} joined in {command:.2} s, ready after {ready:.2} s", host.name()));
        joins.push(Join { command, ready });
    }
    Ok(joins)
}

/// Waits until a host says that another one is ready.
fn ready(asked: &Host, host: &Host) -> anyhow::Result<()> {
    eventually(LONG, &format!("{} is ready", host.name()), || {
        let status = asked.jaco_json(&["cluster", "status"]).map_err(|error| format!("{error:#}"))?;
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let is_ready = nodes.iter().any(|node| node["hostname"] == host.name() && node["status"] == "ready");
        if is_ready { Ok(()) } else { Err(status.to_string()) }
    })
}

/// Names of the hosts that run replicas now, one for each replica.
fn running(asked: &Host) -> Result<Vec<String>, String> {
    let status: Value = asked.jaco_json(&["status", "bench"]).map_err(|error| format!("{error:#}"))?;
    let replicas = status["replicas"].as_array().cloned().unwrap_or_default();
    let running = replicas.iter().filter(|replica| replica["state"] == "running");
    Ok(running.filter_map(|replica| replica["host"].as_str().map(str::to_owned)).collect())
}

fn spread(asked: &Host, over: &[&str]) -> anyhow::Result<()> {
    eventually(LONG, &format!("{REPLICAS} replicas run on {over:?}"), || {
        let hosts = running(asked)?;
        let covered = over.iter().all(|name| hosts.iter().any(|host| host == name));
        let inside = hosts.iter().all(|host| over.contains(&host.as_str()));
        if hosts.len() == REPLICAS && covered && inside { Ok(()) } else { Err(format!("{hosts:?}")) }
    })
}

/// Kills a host, and brings it back; seconds until all replicas run on the others.
fn replacement(lab: &Lab, victim: Victim) -> anyhow::Result<f64> {
    let names: Vec<&str> = lab.hosts().iter().map(Host::name).collect();
    spread(lab.host(1), &names)?;
    let status = lab.host(1).jaco_json(&["cluster", "status"])?;
    let leader = status["leader"].as_str().context("no leader")?;
    let is_victim = |name: &&str| (*name == leader) == (victim == Victim::Leader);
    let victim = names.iter().copied().find(is_victim).context("no such host")?;
    let left: Vec<&str> = names.iter().copied().filter(|name| *name != victim).collect();
    let witness = lab.host_named(left.first().context("nobody is left")?)?;
    let victim = lab.host_named(victim)?;
    let begun = Instant::now();
    victim.kill()?;
    spread(witness, &left)?;
    let took = begun.elapsed().as_secs_f64();
    ensure!(took >= 1.0, "replaced after {took:.2} s, before anybody can have noticed");
    victim.boot()?;
    victim.start_jacod(&JacodOptions::default())?;
    ready(witness, victim)?;
    Ok(took)
}

fn add_figures(report: &mut Report, joins: &[Join], killed: &[(Victim, Vec<f64>)]) {
    let all = |of: fn(&Join) -> f64| joins.iter().map(of).collect::<Vec<f64>>();
    let figure = |name: &str, times: &[f64], value: f64, bar: Option<Bar>, note: &str| Figure {
        part: 'k',
        name: name.to_owned(),
        unit: "s",
        ours: Measure::of(value)
            .detail(format!("longest {:.2} s", quantile(times, 1.0)))
            .numbers(json!({ "rounds_s": times })),
        floor: None,
        ratio: None,
        bar,
        note: note.to_owned(),
    };
    let (commands, readies) = (all(|join| join.command), all(|join| join.ready));
    report.add(figure("`node join` returns", &commands, median(&commands), None, ""));
    report.add(figure("joined node is ready", &readies, median(&readies), None, ""));
    for (victim, replaced) in killed {
        report.add(figure(
            &format!("{} killed, its replica runs elsewhere", victim.name()),
            replaced,
            quantile(replaced, 1.0),
            Some(Bar::AtMost(DOWN_AFTER + 5.0)),
            "the longest; node_down_after is 10 s, of which nothing can be saved; to about 0.2 s, as a client is started for each look",
        ));
    }
}
