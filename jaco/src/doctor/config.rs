//! What the daemon's own file says of the places that doctor looks at.
//!
//! Only these keys are read; whether the file as a whole is right is for the daemon (`jacod config`).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::facts::Listener;

/// Where the file is unless `--config` or `JACO_CONFIG` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/jaco/jacod.yaml";

/// The keys, with the daemon's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct File {
    data_dir: PathBuf,
    docker_socket: PathBuf,
    listen_addr: String,
    cluster_addr: String,
    http_addr: String,
    https_addr: String,
    metrics_addr: String,
}

impl Default for File {
    fn default() -> Self {
        File {
            data_dir: "/var/lib/jaco".into(),
            docker_socket: "/var/run/docker.sock".into(),
            listen_addr: "0.0.0.0:7000".into(),
            cluster_addr: "0.0.0.0:7001".into(),
            http_addr: "0.0.0.0:80".into(),
            https_addr: "0.0.0.0:443".into(),
            metrics_addr: "127.0.0.1:7002".into(),
        }
    }
}

/// What of the configuration matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// The daemon's data directory.
    pub data_dir: PathBuf,
    /// The engine's socket.
    pub docker_socket: PathBuf,
    /// The daemon's TCP ports.
    pub ports: Vec<(Listener, u16)>,
    /// `true` when there is a file, `false` when the defaults are in force, or why the file cannot be used.
    pub file: Result<bool, String>,
}

/// Reads the file; where it cannot be read or used, the defaults are looked at instead.
pub fn read(path: &Path) -> Configured {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let parsed = text.and_then(|text| match text {
        None => Ok((File::default(), false)),
        Some(text) => parse(&text).map(|file| (file, true)),
    });
    match parsed.and_then(|(file, present)| configured(file, present)) {
        Ok(configured) => configured,
        Err(reason) => Configured { file: Err(reason), ..defaults() },
    }
}

fn defaults() -> Configured {
    let File { data_dir, docker_socket, .. } = File::default();
    configured(File::default(), false).unwrap_or(Configured {
        data_dir,
        docker_socket,
        ports: Vec::new(),
        file: Ok(false),
    })
}

fn parse(text: &str) -> Result<File, String> {
    if text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(File::default());
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

fn configured(file: File, present: bool) -> Result<Configured, String> {
    let addresses = [
        (Listener::Http, &file.http_addr),
        (Listener::Https, &file.https_addr),
        (Listener::Api, &file.listen_addr),
        (Listener::Cluster, &file.cluster_addr),
        (Listener::Metrics, &file.metrics_addr),
    ];
    let ports = addresses
        .into_iter()
        .map(|(listener, address)| match address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()) {
            Some(port) => Ok((listener, port)),
            None => Err(format!("{}: {address:?} is not host:port", listener.key())),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Configured { data_dir: file.data_dir, docker_socket: file.docker_socket, ports, file: Ok(present) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Configured {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("jacod.yaml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn the_daemons_file_says_where_to_look() {
        let found = of("data_dir: /srv/jaco\nhttp_addr: 127.0.0.1:8080\nlisten_addr: '[::]:9000'\nwg_port: 1\n");
        assert_eq!((found.data_dir, found.file), ("/srv/jaco".into(), Ok(true)));
        assert_eq!(found.docker_socket, PathBuf::from("/var/run/docker.sock"), "not in the file");
        let numbers: Vec<u16> = found.ports.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers, [8080, 443, 9000, 7001, 7002]);
    }

    #[test]
    fn no_file_and_an_empty_one_are_the_defaults() {
        let none = read(Path::new("/nonexistent/jacod.yaml"));
        assert_eq!((none.file.clone(), none.ports.len()), (Ok(false), 5));
        let empty = of("# nothing\n\n");
        assert_eq!((empty.data_dir, empty.ports, empty.file), (none.data_dir, none.ports, Ok(true)));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_told_and_the_defaults_are_looked_at() {
        for (text, told) in [("http_addr: eighty\n", "http_addr"), ("data_dir: [\n", ""), ("[]\n", "")] {
            let found = of(text);
            assert!(found.file.as_ref().is_err_and(|reason| reason.contains(told)), "{text}: {found:?}");
            assert_eq!(found.ports, defaults().ports);
        }
    }
}
