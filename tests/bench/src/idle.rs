//! (d) What an idle daemon needs: memory, processor time, and writes to its log, with no replica and with thirty.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use jaco_e2e::{Engine, build_web_image};
use serde_json::json;

use crate::apply::{REPLICAS, manifests};
use crate::node::Node;
use crate::process::{Memory, memory, processor_seconds};
use crate::report::{Bar, Figure, Measure, Report};
use crate::{Settings, say};

const NOTE: &str = "an idle daemon has no floor; beside it stands the engine it drives, over the same time";

/// What was seen of a process that was left alone.
struct Idle {
    memory: Memory,
    /// Share of one core, per cent.
    processor: f64,
}

pub(crate) fn run(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    if !jaco_e2e::can_run("(d) an idle daemon") {
        report.skip("(d) an idle daemon", "it needs root, dockerd and busybox");
        return Ok(());
    }
    let engine = Engine::start(false)?;
    build_web_image(&engine)?;
    let node = Node::start(&engine.socket())?;
    observe(settings, report, &node, &engine, 0)?;
    let (jaco_yaml, compose_yaml) = manifests("bench", REPLICAS);
    let project = node.project(&jaco_yaml, &compose_yaml)?;
    node.cli().run(&["apply", &project, "--wait", "--timeout", "5m"])?;
    observe(settings, report, &node, &engine, REPLICAS)
}

fn observe(
    settings: &Settings,
    report: &mut Report,
    node: &Node,
    engine: &Engine,
    replicas: u32,
) -> anyhow::Result<()> {
    // What came before ends: the last observations, and threads that are kept for ten seconds after their last work.
    wait(settings.seconds(15.0, 12.0));
    let docker = engine_pid(engine)?;
    let before = node.raft_index()?;
    let length = settings.seconds(60.0, 5.0);
    let at_begin = (processor_seconds(node.pid())?, processor_seconds(docker)?);
    let begun = Instant::now();
    wait(length);
    let took = begun.elapsed().as_secs_f64();
    let idle = |pid: u32, begin: f64| -> anyhow::Result<Idle> {
        Ok(Idle { memory: memory(pid)?, processor: (processor_seconds(pid)? - begin) / took * 100.0 })
    };
    let (ours, peer) = (idle(node.pid(), at_begin.0)?, idle(docker, at_begin.1)?);
    let written = node.raft_index()? - before;
    say(&format!(
        "  {replicas} replicas: {:.1} MiB resident, {:.2} % of a core, {written} log entries in {took:.0} s",
        ours.memory.resident, ours.processor
    ));
    add_figures(report, replicas, &ours, &peer, written);
    Ok(())
}

fn add_figures(report: &mut Report, replicas: u32, ours: &Idle, peer: &Idle, written: u64) {
    let memory = |memory: &Memory| {
        Measure::of(memory.resident)
            .detail(format!("pss {:.1}, anonymous {:.1}", memory.proportional, memory.anonymous))
            .numbers(json!({ "pss_mib": memory.proportional, "anonymous_mib": memory.anonymous }))
    };
    let name = "the test's idle dockerd";
    report.add(Figure {
        part: 'd',
        name: format!("idle jacod, {replicas} replicas, resident memory"),
        unit: "MiB",
        ours: memory(&ours.memory),
        floor: Some((name.to_owned(), memory(&peer.memory))),
        ratio: Some(ours.memory.resident / peer.memory.resident),
        bar: Some(Bar::AtMost(40.0)),
        note: NOTE.to_owned(),
    });
    report.add(Figure {
        part: 'd',
        name: format!("idle jacod, {replicas} replicas, processor"),
        unit: "% of a core",
        ours: Measure::of(ours.processor),
        floor: Some((name.to_owned(), Measure::of(peer.processor))),
        ratio: None,
        bar: Some(Bar::AtMost(0.5)),
        note: String::new(),
    });
    report.add(Figure {
        part: 'd',
        name: format!("idle jacod, {replicas} replicas, log entries written"),
        unit: "entries",
        ours: Measure::of(written as f64),
        floor: None,
        ratio: None,
        bar: Some(Bar::AtMost(0.0)),
        note: String::new(),
    });
}

fn engine_pid(engine: &Engine) -> anyhow::Result<u32> {
    let socket = engine.socket();
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let text = std::fs::read_to_string(folder.join("dockerd.pid")).context("the engine's pid file")?;
    Ok(text.trim().parse()?)
}

/// Lets time pass: it is what is measured here.
#[allow(clippy::disallowed_methods)] // Nothing is waited for but the time itself.
pub(crate) fn wait(length: Duration) {
    std::thread::sleep(length);
}
