//! A place on the real engine for one test: an id, an address range and names of its own, an image without internet, and its end.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bollard::Docker;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, RemoveVolumeOptions,
};
use futures_util::StreamExt;
use jaco_state::{Store, SystemClock};
use jaco_types::label;

use super::{Bench, NODE};
use crate::engine::DockerEngine;
use crate::service::{Options, Runtime};

const SOCKET: &str = "/var/run/docker.sock";
const BUSYBOX: &str = "/bin/busybox";

pub(crate) struct Lab {
    pub(crate) docker: Docker,
    pub(crate) engine: Arc<DockerEngine>,
    pub(crate) cluster: String,
    /// A deployment name of its own: bridge names come from it.
    pub(crate) deployment: String,
    pub(crate) pool: String,
    /// Its registry is a port that nobody listens on.
    pub(crate) image: String,
}

impl Lab {
    /// `None`, with a line that says so, where there is no engine or no static busybox.
    pub(crate) async fn new(test: &str) -> Option<Lab> {
        for needed in [SOCKET, BUSYBOX] {
            if !Path::new(needed).exists() {
                println!("SKIPPED {test}: {needed} is not there");
                return None;
            }
        }
        let engine = Arc::new(DockerEngine::new(SOCKET));
        let version = crate::engine::Engine::version(engine.as_ref()).await;
        if let Err(error) = version {
            println!("SKIPPED {test}: {error}");
            return None;
        }
        let docker = Docker::connect_with_unix(SOCKET, 60, bollard::API_DEFAULT_VERSION).unwrap();
        let docker = docker.negotiate_version().await.unwrap();
        let run: u64 = rand::random();
        let lab = Lab {
            docker,
            engine,
            cluster: format!("test-{run:016x}"),
            deployment: format!("rt{run:016x}"),
            pool: format!("10.{}.{}.0/24", 150 + run % 50, (run >> 8) % 256),
            image: format!("127.0.0.1:1/jaco-rt-test:{run:016x}"),
        };
        lab.import().await;
        Some(lab)
    }

    async fn import(&self) {
        let (repo, tag) = self.image.rsplit_once(':').unwrap();
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(repo)
            .tag(tag)
            .changes(vec!["ENV PATH=/bin".to_owned(), "CMD [\"sleep\",\"1000\"]".to_owned()])
            .build();
        let mut progress = self.docker.create_image(Some(options), Some(bollard::body_full(root().into())), None);
        while let Some(item) = progress.next().await {
            item.unwrap();
        }
    }

    pub(crate) fn bench(&self) -> Bench {
        Bench::new(Arc::new(SystemClock::new()), &self.cluster, &self.pool)
    }

    pub(crate) fn runtime(&self, bench: &Bench) -> Arc<Runtime> {
        let store: Arc<dyn Store> = bench.store.clone();
        Arc::new(Runtime::new(Options::new(self.engine.clone(), store, NODE)))
    }

    /// The engine's own description of a container, `null` when it is gone.
    pub(crate) async fn inspect(&self, name: &str) -> serde_json::Value {
        match self.docker.inspect_container(name, None::<InspectContainerOptions>).await {
            Ok(found) => serde_json::to_value(found).unwrap(),
            Err(_) => serde_json::Value::Null,
        }
    }
}

impl Drop for Lab {
    /// Also after a failed test; on a thread of its own, since a test's runtime cannot be waited for from inside.
    fn drop(&mut self) {
        let (cluster, deployment, image) = (self.cluster.clone(), self.deployment.clone(), self.image.clone());
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(clean(&cluster, &deployment, &image));
        };
        std::thread::spawn(work).join().unwrap();
    }
}

async fn clean(cluster: &str, deployment: &str, image: &str) {
    let docker = Docker::connect_with_unix(SOCKET, 60, bollard::API_DEFAULT_VERSION).unwrap();
    let docker = docker.negotiate_version().await.unwrap();
    for label in [
        format!("{}={cluster}", label::CLUSTER_ID),
        format!("{}={deployment}", label::DEPLOYMENT),
        format!("jaco.test={cluster}"),
    ] {
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let list = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        for container in docker.list_containers(Some(list)).await.unwrap_or_default() {
            let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            let _gone = docker.remove_container(&container.id.unwrap_or_default(), Some(force)).await;
        }
        let list = ListNetworksOptionsBuilder::new().filters(&filters).build();
        for network in docker.list_networks(Some(list)).await.unwrap_or_default() {
            let _gone = docker.remove_network(&network.name.unwrap_or_default()).await;
        }
        let list = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = docker.list_volumes(Some(list)).await.map(|found| found.volumes.unwrap_or_default());
        for volume in volumes.unwrap_or_default() {
            let _gone = docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await;
        }
    }
    let _gone = docker.remove_volume(&format!("jaco-contract-{cluster}"), None::<RemoveVolumeOptions>).await;
    let force = RemoveImageOptionsBuilder::new().force(true).build();
    let _gone = docker.remove_image(image, Some(force), None).await;
}

/// A root file system with nothing but busybox, as a tar archive.
fn root() -> Vec<u8> {
    let mut tar = Vec::new();
    entry(&mut tar, "bin/busybox", b'0', "", &std::fs::read(BUSYBOX).unwrap());
    for applet in
        ["sh", "sleep", "cat", "echo", "test", "touch", "rm", "true", "false", "env", "head", "tr", "yes", "ls"]
    {
        entry(&mut tar, &format!("bin/{applet}"), b'2', "busybox", &[]);
    }
    for folder in ["tmp/", "data/", "etc/", "dev/", "proc/", "sys/"] {
        entry(&mut tar, folder, b'5', "", &[]);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// One entry in the ustar format.
fn entry(tar: &mut Vec<u8>, name: &str, kind: u8, link: &str, content: &[u8]) {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(157, link);
    put(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(content);
    tar.resize(tar.len().div_ceil(512) * 512, 0);
}
