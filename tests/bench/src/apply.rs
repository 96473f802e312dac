//! (b) `apply --wait` of thirty replicas by the real programs, beside the engine driver creating and starting thirty containers with
//! the same settings in one network of its own, eight at a time as the daemon does.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use jaco_e2e::{Engine as TestEngine, WEB_IMAGE, build_web_image};
use jaco_manifest::model::Options;
use jaco_manifest::{SourceNames, resolve};
use jaco_runtime::container::{CreateInput, CreateRequest, config};
use jaco_runtime::{DockerEngine, Engine};
use jaco_types::{
    DeploymentSpec, Hostname, NetworkName, NodeId, ReplaceOrder, ReplicaDesired, ReplicaId, ReplicaIndex, ServiceName,
    SpecHash, bridge_name, network_name,
};
use serde_json::json;

use crate::node::Node;
use crate::report::{Bar, Figure, Measure, Report};
use crate::stats::{median, paired_ratio};
use crate::{Settings, say};

/// Containers of a round.
pub(crate) const REPLICAS: u32 = 30;
/// As the daemon's runtime has it.
const AT_ONCE: usize = 8;
/// A replica without a health check counts as running after this time: the contract's, not the program's.
const UPTIME: f64 = 1.0;

/// The manifests of a deployment of the web image.
pub(crate) fn manifests(deployment: &str, replicas: u32) -> (String, String) {
    (
        format!("deployment: {deployment}\nservices:\n  - name: web\n    replicas: {replicas}\n"),
        format!("services:\n  web:\n    image: {WEB_IMAGE}\n    pull_policy: never\n"),
    )
}

pub(crate) fn run(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    if !jaco_e2e::can_run("(b) apply --wait of 30 replicas") {
        report.skip("(b) apply --wait of 30 replicas", "it needs root, dockerd and busybox");
        return Ok(());
    }
    let engine = TestEngine::start(false)?;
    build_web_image(&engine)?;
    let node = Node::start(&engine.socket())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut ours, mut started, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    // The first round of each warms the engine up and is not counted.
    for round in 0..=settings.rounds(5, 1) {
        let direct = runtime.block_on(direct(&engine.socket()))?;
        let (waited, last_start) = applied(&node, &engine)?;
        say(&format!(
            "  round {round}: apply --wait {waited:.2} s (its last container started after {last_start:.2} s), direct {direct:.2} s{}",
            if round == 0 { ", not counted" } else { "" }
        ));
        if round > 0 {
            ours.push(waited);
            started.push(last_start);
            floor.push(direct);
        }
    }
    drop(node);
    add_figures(report, &ours, &started, &floor);
    Ok(())
}

fn add_figures(report: &mut Report, ours: &[f64], started: &[f64], floor: &[f64]) {
    let without: Vec<f64> = ours.iter().map(|seconds| seconds - UPTIME).collect();
    let rows = [
        ("apply --wait of 30 replicas, as a user waits", ours, Some(Bar::RatioAtMost(1.25))),
        ("the same without the second of uptime", &without, Some(Bar::RatioAtMost(1.25))),
        ("until the last of them was started", started, None),
    ];
    for (name, values, bar) in rows {
        report.add(Figure {
            part: 'b',
            name: name.to_owned(),
            unit: "s",
            ours: Measure::of(median(values)).numbers(json!({ "rounds": values })),
            floor: Some((
                "create + start of 30 by the engine API".to_owned(),
                Measure::of(median(floor)).numbers(json!({ "rounds": floor })),
            )),
            ratio: Some(paired_ratio(values, floor)),
            bar,
            note: "a replica without a health check counts as running when its process has been up for 1 s, so the first figure holds \
                   one second that is no work; the floor waits for nothing after the last start; both make one bridge network, \
                   8 containers at a time, same image and settings"
                .to_owned(),
        });
    }
}

/// Seconds of `apply --wait`, and until the engine started the last container. Leaves nothing behind.
fn applied(node: &Node, engine: &TestEngine) -> anyhow::Result<(f64, f64)> {
    let (jaco_yaml, compose_yaml) = manifests("bench", REPLICAS);
    let project = node.project(&jaco_yaml, &compose_yaml)?;
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let begun = Instant::now();
    node.cli().run(&["apply", &project, "--wait", "--timeout", "5m"])?;
    let waited = begun.elapsed();
    let names = engine.containers("jaco.deployment=bench")?;
    ensure!(names.len() == REPLICAS as usize, "{} containers instead of {REPLICAS}", names.len());
    let last = last_start(engine, &names)?;
    node.cli().run(&["delete", "bench", "--wait", "--timeout", "5m"])?;
    Ok((waited.as_secs_f64(), last - clock.as_secs_f64()))
}

/// When the engine started the last of them, seconds since the Unix epoch.
fn last_start(engine: &TestEngine, names: &[String]) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let driver = DockerEngine::new(engine.socket().display().to_string());
    runtime.block_on(async {
        let mut last = 0;
        for name in names {
            let container = driver.inspect(name).await?.context("a container is gone")?;
            last = container.started_at_ms.unwrap_or(0).max(last);
        }
        Ok(last as f64 / 1000.0)
    })
}

/// Seconds of creating one network and creating and starting the containers in it. Leaves nothing behind.
async fn direct(socket: &Path) -> anyhow::Result<f64> {
    let engine = DockerEngine::new(socket.display().to_string());
    let api = engine.version().await?.api;
    let (jaco_yaml, compose_yaml) = manifests("floor", REPLICAS);
    let resolved = resolve(&jaco_yaml, &compose_yaml, &SourceNames::default(), &Options::default());
    let spec = resolved.spec.context("the floor's manifests are refused")?;
    let requests = (0..REPLICAS).map(|index| request(&spec, index, api)).collect::<anyhow::Result<Vec<_>>>()?;
    let default = NetworkName::new("default")?;
    let network = network_name(&spec.name, &default);
    let bridge = bridge_name(&spec.name, &default);
    let network_request = json!({
        "Name": network,
        "Driver": "bridge",
        "IPAM": { "Driver": "default", "Config": [{ "Subnet": "10.197.0.0/24", "Gateway": "10.197.0.1" }] },
        "Options": { "com.docker.network.bridge.name": bridge, "com.docker.network.driver.mtu": "1420" },
    });
    let begun = Instant::now();
    engine.create_network(serde_json::from_value(network_request)?).await?;
    let containers: Vec<String> =
        stream::iter(requests).map(|request| started(&engine, request)).buffer_unordered(AT_ONCE).try_collect().await?;
    let took = begun.elapsed();
    let removals = stream::iter(&containers).map(|id| removed(&engine, id)).buffer_unordered(AT_ONCE);
    removals.try_collect::<()>().await?;
    engine.remove_network(&network).await?;
    Ok(took.as_secs_f64())
}

/// The request the daemon itself would send for such a replica.
fn request(spec: &DeploymentSpec, index: u32, api: jaco_runtime::engine::ApiVersion) -> anyhow::Result<CreateRequest> {
    let name = ServiceName::new("web")?;
    let service = spec.services.get(&name).context("the floor has no service")?;
    let desired = ReplicaDesired {
        id: ReplicaId::new(format!("floor-web-{index}"))?,
        deployment: spec.name.clone(),
        service: name,
        index: ReplicaIndex::Index(index),
        node: NodeId(1),
        hostname: Hostname::new("bench-node")?,
        revision: 1,
        spec_hash: SpecHash::of(&service.container),
        generation: 1,
        attempt: 1,
        order: ReplaceOrder::StartFirst,
        waiting_on: Vec::new(),
    };
    let input = CreateInput {
        cluster_id: "bench-floor",
        desired: &desired,
        raft_index: 1,
        deployment: spec,
        service,
        peers: &BTreeMap::new(),
        epoch: None,
        api,
    };
    Ok(config(input)?)
}

async fn started(engine: &DockerEngine, request: CreateRequest) -> anyhow::Result<String> {
    let id = engine.create_container(&request.name, request.platform.as_deref(), request.body).await?;
    for (network, endpoint) in request.connect {
        engine.connect(&network, &id, endpoint).await?;
    }
    engine.start(&id).await?;
    Ok(id)
}

async fn removed(engine: &DockerEngine, id: &str) -> anyhow::Result<()> {
    engine.stop(id, Duration::from_secs(10)).await?;
    Ok(engine.remove(id).await?)
}
