//! The runtime on a real engine.

mod fields;

use std::time::Duration;

use futures_util::StreamExt;
use jaco_types::{
    HealthTest, Healthcheck, Mount, NodeState, NodeStatus, ReplaceOrder, ReplicaDesired, ReplicaState, ServiceSpec,
    VolumeName, VolumeSpec,
};
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::*;
use crate::engine::{DockerEngine, OutputStream};
use crate::testing::lab::Lab;

const LIMIT: Duration = Duration::from_secs(40);

struct Running {
    stop: CancellationToken,
    tasks: JoinSet<Result<(), RuntimeError>>,
}

impl Running {
    fn start(runtime: &Arc<Runtime>) -> Self {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let (runtime, token) = (Arc::clone(runtime), stop.clone());
        tasks.spawn(async move { runtime.run(token).await });
        Running { stop, tasks }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}

fn shell(lab: &Lab, script: &str) -> ServiceSpec {
    let mut service = testing::service(&lab.image);
    // The registry refuses connections: the local copy is used.
    service.pull_policy = jaco_types::PullPolicy::PreferRemote;
    service.container.command = Some(["sh", "-c", script].map(str::to_owned).into());
    service
}

fn want(lab: &Lab, bench: &Bench, service: &ServiceSpec, generation: u64, order: ReplaceOrder) -> String {
    let desired =
        ReplicaDesired { generation, attempt: generation, order, ..testing::desired(&lab.deployment, "web", service) };
    let id = desired.id.to_string();
    let mut spec = testing::deployment(&lab.deployment, [("web", service.clone())]);
    spec.volumes.insert(VolumeName::new("data").unwrap(), VolumeSpec::default());
    bench.want(spec, generation, vec![desired]);
    id
}

async fn settled(bench: &Bench, id: &str, generation: u64) -> jaco_types::ReplicaObserved {
    bench
        .until(id, LIMIT, |observed| {
            observed.is_some_and(|now| {
                now.state == ReplicaState::Running && now.generation == generation && now.outgoing.is_none()
            })
        })
        .await;
    bench.observed(id).unwrap()
}

async fn output(runtime: &Runtime, container: &str) -> Vec<(OutputStream, String)> {
    let lines = runtime.logs(container, LogOptions::default());
    lines.map(|line| line.map(|line| (line.stream, line.line)).unwrap()).collect().await
}

#[tokio::test]
async fn killed_adopted_replaced_and_deleted() {
    let Some(lab) = Lab::new("killed_adopted_replaced_and_deleted").await else { return };
    let (bench, stranger) = (lab.bench(), format!("{}-stranger", lab.deployment));
    let runtime = lab.runtime(&bench);
    let running = Running::start(&runtime);
    let script = "echo out; echo err >&2; head -c 20000 /dev/zero | tr '\\0' x; echo; trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let mut service = shell(&lab, script);
    let id = want(&lab, &bench, &service, 1, ReplaceOrder::StartFirst);
    let first = settled(&bench, &id, 1).await;
    assert_eq!(first.endpoints.len(), 1);
    let container = first.container_id.clone().unwrap();

    let lines = output(&runtime, &container).await;
    assert!(lines.contains(&(OutputStream::Stdout, "out".to_owned())));
    assert!(lines.contains(&(OutputStream::Stderr, "err".to_owned())));
    assert!(lines.iter().any(|(_, line)| line.len() == 20_000), "a long line comes whole");

    // Killed: it comes back, once, in the same container.
    lab.engine.kill(&container, "SIGKILL").await.unwrap();
    bench
        .until(&id, LIMIT, |now| now.is_some_and(|now| now.restart_count == 1 && now.state == ReplicaState::Running))
        .await;
    assert_eq!(bench.observed(&id).unwrap().container_id.as_ref(), Some(&container));
    let started = lab.inspect(&id).await["State"]["StartedAt"].clone();

    // A container of another cluster with our replica's labels, and one of ours that nobody wants.
    let mut labels: std::collections::HashMap<_, _> =
        [(jaco_types::label::REPLICA_ID.to_owned(), "other-web-0".to_owned())].into();
    for (name, cluster) in [(stranger.as_str(), "not-ours"), (&format!("{stranger}-orphan"), lab.cluster.as_str())] {
        labels.insert(jaco_types::label::CLUSTER_ID.to_owned(), cluster.to_owned());
        labels.insert(jaco_types::label::DEPLOYMENT.to_owned(), lab.deployment.clone());
        let body = bollard::models::ContainerCreateBody {
            image: Some(lab.image.clone()),
            labels: Some(labels.clone()),
            stop_timeout: Some(0),
            ..Default::default()
        };
        let made = lab.engine.create_container(name, None, body).await.unwrap();
        lab.engine.start(&made).await.unwrap();
    }

    // A new daemon adopts.
    running.stop().await;
    let runtime = lab.runtime(&bench);
    let running = Running::start(&runtime);
    let end = std::time::Instant::now() + LIMIT;
    while !lab.inspect(&format!("{stranger}-orphan")).await.is_null() {
        assert!(std::time::Instant::now() < end, "the orphan is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(lab.inspect(&stranger).await["State"]["Running"], true, "the stranger is untouched");
    let adopted = lab.inspect(&id).await;
    assert_eq!((adopted["Id"].as_str(), &adopted["State"]["StartedAt"]), (Some(container.as_str()), &started));

    // Start-first: the new one runs before the old one goes.
    service.container.environment.insert("A".to_owned(), "2".to_owned());
    want(&lab, &bench, &service, 2, ReplaceOrder::StartFirst);
    let second = settled(&bench, &id, 2).await;
    assert_ne!(second.container_id.as_ref(), Some(&container));
    let end = std::time::Instant::now() + LIMIT;
    while !lab.inspect(&container).await.is_null() {
        assert!(std::time::Instant::now() < end, "the outgoing container is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(lab.inspect(&id).await["Config"]["Env"].as_array().unwrap().contains(&"A=2".into()));

    bench.drop_replica(&id);
    bench.until(&id, LIMIT, |observed| observed.is_none()).await;
    assert!(lab.inspect(&id).await.is_null());
    let end = std::time::Instant::now() + LIMIT;
    while !lab.engine.networks(jaco_types::label::CLUSTER_ID, &lab.cluster).await.unwrap().is_empty() {
        assert!(std::time::Instant::now() < end, "the network is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn stop_first_honours_signal_and_grace_and_keeps_the_volume() {
    let Some(lab) = Lab::new("stop_first_honours_signal_and_grace_and_keeps_the_volume").await else { return };
    let bench = lab.bench();
    let runtime = lab.runtime(&bench);
    let running = Running::start(&runtime);
    // Two seconds of work after the signal: only a grace longer than that lets it finish.
    let script = "cat /data/*; trap 'sleep 2; echo finished >/data/one; exit 0' USR1; while :; do sleep 0.1; done";
    let mut service = shell(&lab, script);
    service.container.stop_signal = Some("SIGUSR1".to_owned());
    service.container.stop_grace_period = Some(Duration::from_secs(20));
    service.container.mounts.push(Mount::Volume {
        source: VolumeName::new("data").unwrap(),
        target: "/data".to_owned(),
        read_only: false,
        nocopy: false,
        subpath: None,
    });
    let id = want(&lab, &bench, &service, 1, ReplaceOrder::StopFirst);
    settled(&bench, &id, 1).await;
    service.container.environment.insert("A".to_owned(), "2".to_owned());
    want(&lab, &bench, &service, 2, ReplaceOrder::StopFirst);
    let second = settled(&bench, &id, 2).await;
    let lines = output(&runtime, second.container_id.as_deref().unwrap()).await;
    assert!(lines.contains(&(OutputStream::Stdout, "finished".to_owned())), "{lines:?}");

    bench.drop_replica(&id);
    bench.until(&id, LIMIT, |observed| observed.is_none()).await;
    let volume = lab.engine.volume(&format!("jaco_{}_data", lab.deployment)).await.unwrap().unwrap();
    assert_eq!(volume.labels[jaco_types::label::CLUSTER_ID], lab.cluster);
    running.stop().await;
}

#[tokio::test]
async fn an_unhealthy_container_is_degraded_and_restarted() {
    let Some(lab) = Lab::new("an_unhealthy_container_is_degraded_and_restarted").await else { return };
    let bench = lab.bench();
    let runtime = lab.runtime(&bench);
    let running = Running::start(&runtime);
    let mut service = shell(&lab, "touch /tmp/ok; sleep 2; rm /tmp/ok; sleep 1000");
    service.container.stop_grace_period = Some(Duration::ZERO);
    service.container.healthcheck = Some(Healthcheck {
        test: HealthTest::Shell("test -e /tmp/ok".to_owned()),
        interval: Some(Duration::from_millis(200)),
        retries: Some(2),
        ..Default::default()
    });
    let id = want(&lab, &bench, &service, 1, ReplaceOrder::StartFirst);
    bench.until(&id, LIMIT, |now| now.is_some_and(|now| now.state == ReplicaState::Running)).await;
    bench
        .until(&id, LIMIT, |now| now.is_some_and(|now| now.state == ReplicaState::Degraded && now.endpoints.is_empty()))
        .await;
    bench
        .until(&id, LIMIT, |now| now.is_some_and(|now| now.restart_count == 1 && now.state == ReplicaState::Running))
        .await;
    assert!(runtime.soft().get(&bench.observed(&id).unwrap().id).last_health_at_ms.is_some());
    running.stop().await;
}

/// Passes connections on to the engine until it is dropped, and then breaks them.
fn proxy(path: &std::path::Path) -> JoinSet<()> {
    let listener = UnixListener::bind(path).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut engine = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                let _either_end_closed = copy_bidirectional(&mut client, &mut engine).await;
            });
        }
    });
    tasks
}

#[tokio::test]
async fn a_cut_link_to_the_engine_is_visible_and_mended_without_touching_containers() {
    let test = "a_cut_link_to_the_engine_is_visible_and_mended_without_touching_containers";
    let Some(lab) = Lab::new(test).await else { return };
    let bench = lab.bench();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let store: Arc<dyn Store> = bench.store.clone();
    let engine = Arc::new(DockerEngine::new(socket.to_str().unwrap()));
    let runtime = Arc::new(Runtime::new(Options::new(engine, store, NODE)));
    let running = Running::start(&runtime);
    let service = shell(&lab, "sleep 1000");
    let id = want(&lab, &bench, &service, 1, ReplaceOrder::StartFirst);
    let status = async |wanted: NodeState| {
        let end = std::time::Instant::now() + LIMIT;
        loop {
            let now = bench.store.view().get::<NodeStatus>(&NODE.to_string()).cloned();
            if now.as_ref().is_some_and(|now| {
                now.state == wanted && now.details.contains_key("docker") == (wanted == NodeState::Joining)
            }) {
                return;
            }
            assert!(std::time::Instant::now() < end, "the node is not {wanted}: {now:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // No engine at the start.
    status(NodeState::Joining).await;
    let mut link = proxy(&socket);
    let first = settled(&bench, &id, 1).await;
    status(NodeState::Ready).await;

    link.shutdown().await;
    std::fs::remove_file(&socket).unwrap();
    status(NodeState::Joining).await;
    let link = proxy(&socket);
    status(NodeState::Ready).await;
    let after = settled(&bench, &id, 1).await;
    assert_eq!((after.container_id, after.started_at_ms), (first.container_id, first.started_at_ms));
    assert_eq!((after.restart_count, after.failures), (0, 0));
    running.stop().await;
    drop(link);
}

#[tokio::test]
async fn a_cleared_command_is_not_the_images_own() {
    let Some(lab) = Lab::new("a_cleared_command_is_not_the_images_own").await else { return };
    let bench = lab.bench();
    let running = Running::start(&lab.runtime(&bench));
    let mut service = shell(&lab, "");
    service.container.command = Some(Vec::new());
    let id = want(&lab, &bench, &service, 1, ReplaceOrder::StartFirst);
    // The image has no entrypoint, so nothing is left to run, and the engine says so.
    bench
        .until(&id, LIMIT, |seen| {
            let message = seen.and_then(|seen| seen.message.as_deref()).unwrap_or_default().to_lowercase();
            message.contains("no command specified")
        })
        .await;
    running.stop().await;
}
