//! The file's own shape: text values as written, then the rules that turn them into a [`Config`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::Ipv4Net;
use jaco_types::Hostname;
use serde::{Deserialize, Serialize};

use super::{Config, LogLevel, Surroundings, choose_address};

/// Let's Encrypt's production directory.
const DEFAULT_ACME_CA: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The keys of `jacod.yaml`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    data_dir: PathBuf,
    listen_addr: String,
    cluster_addr: String,
    unix_socket: PathBuf,
    wg_port: u32,
    log_level: String,
    ipam_pool: String,
    node_status_interval: String,
    acme_email: String,
    acme_ca: String,
    acme_enabled: bool,
    acme_skip_staging: bool,
    dns: Dns,
    node_down_after: String,
    mesh_cidr: String,
    hostname: Option<String>,
    http_addr: String,
    https_addr: String,
    docker_socket: PathBuf,
    acme_ca_root: Option<PathBuf>,
    metrics_addr: String,
}

/// The `dns` section.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Dns {
    forwarders: Vec<String>,
    forwarder_timeout: String,
}

impl Default for File {
    fn default() -> Self {
        File {
            data_dir: "/var/lib/jaco".into(),
            listen_addr: "0.0.0.0:7000".into(),
            cluster_addr: "0.0.0.0:7001".into(),
            unix_socket: "/var/run/jaco/jaco.sock".into(),
            wg_port: 51820,
            log_level: "info".into(),
            ipam_pool: "10.244.0.0/16".into(),
            node_status_interval: "30s".into(),
            acme_email: String::new(),
            acme_ca: DEFAULT_ACME_CA.into(),
            acme_enabled: true,
            acme_skip_staging: false,
            dns: Dns::default(),
            node_down_after: "10s".into(),
            mesh_cidr: "10.243.0.0/16".into(),
            hostname: None,
            http_addr: "0.0.0.0:80".into(),
            https_addr: "0.0.0.0:443".into(),
            docker_socket: "/var/run/docker.sock".into(),
            acme_ca_root: None,
            metrics_addr: "127.0.0.1:7002".into(),
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Dns { forwarders: Vec::new(), forwarder_timeout: "2s".into() }
    }
}

/// Reads the text; an empty one is all defaults.
pub(super) fn read(text: &str) -> Result<File, Vec<String>> {
    if text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(File::default());
    }
    serde_saphyr::from_str(text).map_err(|error| vec![error.to_string()])
}

/// Writes a configuration as a file that means the same.
pub(super) fn write(config: &Config) -> String {
    let file = File {
        data_dir: config.data_dir.clone(),
        listen_addr: config.listen_addr.to_string(),
        cluster_addr: config.cluster_addr.to_string(),
        unix_socket: config.unix_socket.clone(),
        wg_port: u32::from(config.wg_port),
        log_level: config.log_level.as_str().to_owned(),
        ipam_pool: config.ipam_pool.to_string(),
        node_status_interval: humantime::format_duration(config.node_status_interval).to_string(),
        acme_email: config.acme_email.clone(),
        acme_ca: config.acme_ca.clone(),
        acme_enabled: config.acme_enabled,
        acme_skip_staging: config.acme_skip_staging,
        dns: Dns {
            forwarders: config.dns_forwarders.iter().map(ToString::to_string).collect(),
            forwarder_timeout: humantime::format_duration(config.dns_forwarder_timeout).to_string(),
        },
        node_down_after: humantime::format_duration(config.node_down_after).to_string(),
        mesh_cidr: config.mesh_cidr.to_string(),
        hostname: Some(config.hostname.to_string()),
        http_addr: config.http_addr.to_string(),
        https_addr: config.https_addr.to_string(),
        docker_socket: config.docker_socket.clone(),
        acme_ca_root: config.acme_ca_root.clone(),
        metrics_addr: config.metrics_addr.to_string(),
    };
    // A struct of plain values always serialises; an empty text would only mean "all defaults".
    serde_saphyr::to_string(&file).unwrap_or_default()
}

/// Collects problems, each with its key, so that all are told at once.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, key: &str, problem: impl std::fmt::Display) {
        self.0.push(format!("{key}: {problem}"));
    }

    fn keep<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.add(key, problem)).ok()
    }
}

impl File {
    /// Applies every rule.
    pub(super) fn check(self, surroundings: &Surroundings) -> Result<Config, Vec<String>> {
        let mut problems = Problems::default();
        let listen = problems.keep("listen_addr", socket_address(&self.listen_addr));
        let cluster = problems.keep("cluster_addr", socket_address(&self.cluster_addr));
        let http_addr = problems.keep("http_addr", socket_address(&self.http_addr));
        let https_addr = problems.keep("https_addr", socket_address(&self.https_addr));
        let metrics_addr = problems.keep("metrics_addr", local_address(&self.metrics_addr));
        for (key, path) in
            [("data_dir", &self.data_dir), ("unix_socket", &self.unix_socket), ("docker_socket", &self.docker_socket)]
        {
            if !path.is_absolute() {
                problems.add(key, format!("{:?} is not an absolute path", path.display().to_string()));
            }
        }
        if let (Some(listen), Some(cluster)) = (listen, cluster)
            && listen == cluster
        {
            problems.add("cluster_addr", "it is the same as listen_addr; give it another port");
        }
        let wg_port = problems.keep("wg_port", port(self.wg_port));
        let level_text = surroundings.log_override.as_deref().unwrap_or(&self.log_level);
        let log_level = problems.keep(
            "log_level",
            LogLevel::parse(level_text).ok_or_else(|| format!("{level_text:?} is none of debug, info, warn, error")),
        );
        let ipam_pool = problems.keep("ipam_pool", pool(&self.ipam_pool));
        let mesh_cidr = problems.keep("mesh_cidr", network(&self.mesh_cidr));
        if let (Some(pool), Some(mesh)) = (ipam_pool, mesh_cidr)
            && (pool.contains(&mesh.network()) || mesh.contains(&pool.network()))
        {
            problems.add("mesh_cidr", format!("{mesh} overlaps ipam_pool {pool}"));
        }
        let node_status_interval = problems.keep(
            "node_status_interval",
            duration_or_default(
                &self.node_status_interval,
                Duration::from_secs(30),
                Duration::from_secs(5),
                Duration::from_secs(300),
            ),
        );
        let node_down_after = problems
            .keep("node_down_after", duration(&self.node_down_after, Duration::from_secs(5), Duration::from_secs(600)));
        let forwarder_timeout = problems.keep(
            "dns.forwarder_timeout",
            duration_or_default(
                &self.dns.forwarder_timeout,
                Duration::from_secs(2),
                Duration::ZERO,
                Duration::from_secs(60),
            ),
        );
        let dns_forwarders = self.check_forwarders(ipam_pool, &mut problems);
        if !self.acme_ca.starts_with("https://") {
            problems.add("acme_ca", format!("{:?} is not an https URL", self.acme_ca));
        }
        let hostname_text = self.hostname.as_deref().unwrap_or(&surroundings.system_hostname);
        let hostname = problems.keep("hostname", Hostname::new(hostname_text).map_err(|error| error.to_string()));
        let addresses = listen
            .zip(cluster)
            .and_then(|(listen, cluster)| problems.keep("listen_addr", resolve(listen, cluster, surroundings)));
        let (
            Some(http_addr),
            Some(https_addr),
            Some(metrics_addr),
            Some(wg_port),
            Some(log_level),
            Some(ipam_pool),
            Some(mesh_cidr),
            Some(node_status_interval),
            Some(node_down_after),
            Some(dns_forwarder_timeout),
            Some(hostname),
            Some((listen_addr, cluster_addr, advertise)),
            true,
        ) = (
            http_addr,
            https_addr,
            metrics_addr,
            wg_port,
            log_level,
            ipam_pool,
            mesh_cidr,
            node_status_interval,
            node_down_after,
            forwarder_timeout,
            hostname,
            addresses,
            problems.0.is_empty(),
        )
        else {
            return Err(problems.0);
        };
        Ok(Config {
            data_dir: self.data_dir,
            listen_addr,
            cluster_addr,
            advertise,
            unix_socket: self.unix_socket,
            wg_port,
            log_level,
            ipam_pool,
            mesh_cidr,
            node_status_interval,
            acme_email: self.acme_email,
            acme_ca: self.acme_ca,
            acme_ca_root: self.acme_ca_root,
            acme_enabled: self.acme_enabled,
            acme_skip_staging: self.acme_skip_staging,
            dns_forwarders,
            dns_forwarder_timeout,
            node_down_after,
            hostname,
            http_addr,
            https_addr,
            docker_socket: self.docker_socket,
            metrics_addr,
            feature_level: jaco_controlplane::FEATURE_LEVEL,
        })
    }

    fn check_forwarders(&self, pool: Option<Ipv4Net>, problems: &mut Problems) -> Vec<SocketAddr> {
        let mut forwarders = Vec::new();
        for text in &self.dns.forwarders {
            let address =
                text.parse::<SocketAddr>().ok().or_else(|| text.parse::<IpAddr>().ok().map(|ip| (ip, 53).into()));
            match address {
                None => problems.add("dns.forwarders", format!("{text:?} is not `address` or `address:port`")),
                Some(address) if address.ip() == IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)) => {
                    problems.add(
                        "dns.forwarders",
                        "127.0.0.11 is the engine's resolver inside containers, not one of this host",
                    );
                }
                Some(address) if in_pool(address.ip(), pool) => {
                    problems.add(
                        "dns.forwarders",
                        format!("{} is inside ipam_pool: the cluster would ask itself", address.ip()),
                    );
                }
                Some(address) => forwarders.push(address),
            }
        }
        forwarders
    }
}

fn in_pool(address: IpAddr, pool: Option<Ipv4Net>) -> bool {
    match (address, pool) {
        (IpAddr::V4(address), Some(pool)) => pool.contains(&address),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => false,
    }
}

/// Replaces an unspecified host by the one address found, and names the address to advertise.
fn resolve(
    listen: SocketAddr,
    cluster: SocketAddr,
    surroundings: &Surroundings,
) -> Result<(SocketAddr, SocketAddr, IpAddr), String> {
    let explicit = [listen, cluster].into_iter().map(|address| address.ip()).find(|ip| !ip.is_unspecified());
    let chosen = match explicit {
        Some(address) => address,
        None => choose_address(&surroundings.interfaces).map(IpAddr::V4).ok_or_else(|| {
            "no private address found on this machine to bind and advertise; set listen_addr and cluster_addr to one".to_owned()
        })?,
    };
    let fill =
        |address: SocketAddr| if address.ip().is_unspecified() { (chosen, address.port()).into() } else { address };
    Ok((fill(listen), fill(cluster), fill(listen).ip()))
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not host:port with an address as host"))
}

fn local_address(text: &str) -> Result<SocketAddr, String> {
    let address = socket_address(text)?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!("{text:?} is not a loopback address; metrics have no authentication"))
    }
}

fn port(number: u32) -> Result<u16, String> {
    u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| format!("{number} is not between 1 and 65535"))
}

fn network(text: &str) -> Result<Ipv4Net, String> {
    let network: Ipv4Net =
        text.parse().map_err(|_| format!("{text:?} is not an IPv4 network such as 10.244.0.0/16"))?;
    if network.addr() == network.network() {
        Ok(network)
    } else {
        Err(format!("{text} has host bits set; did you mean {}?", network.trunc()))
    }
}

fn pool(text: &str) -> Result<Ipv4Net, String> {
    let pool = network(text)?;
    if (8..=20).contains(&pool.prefix_len()) { Ok(pool) } else { Err(format!("{text} must be between /8 and /20")) }
}

fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let value = if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text) };
    let value = value.map_err(|_| format!("{text:?} is not a duration such as 30s or 1m30s"))?;
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!(
            "{text} must be between {} and {}",
            humantime::format_duration(least),
            humantime::format_duration(most)
        ))
    }
}

fn duration_or_default(text: &str, default: Duration, least: Duration, most: Duration) -> Result<Duration, String> {
    match duration(text, Duration::ZERO, most)? {
        Duration::ZERO => Ok(default),
        _ => duration(text, least, most),
    }
}

/// The place of the file when nothing says otherwise.
pub(crate) fn default_path() -> &'static Path {
    Path::new("/etc/jaco/jacod.yaml")
}
