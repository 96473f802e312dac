//! Who listens on a TCP port, from the kernel's tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::facts::{Holder, Listener, Port};

/// State LISTEN in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Finds the holders of these ports. Names of processes of other users take root.
pub fn holders(ports: &[(Listener, u16)]) -> Vec<Port> {
    let mut inodes = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        inodes.extend(listening(&fs::read_to_string(table).unwrap_or_default()));
    }
    let holder = |port: &u16| match inodes.get(port) {
        None => Holder::Nobody,
        Some(inode) => process_with_socket(*inode).map_or(Holder::Somebody, Holder::Process),
    };
    ports.iter().map(|(listener, port)| Port { listener: *listener, number: *port, holder: holder(port) }).collect()
}

/// Port → inode of its listening socket, from one table of the kernel.
fn listening(table: &str) -> BTreeMap<u16, u64> {
    table.lines().skip(1).filter_map(listening_line).collect()
}

fn listening_line(line: &str) -> Option<(u16, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    if *state != LISTEN {
        return None;
    }
    let (_, port) = local.rsplit_once(':')?;
    Some((u16::from_str_radix(port, 16).ok()?, inode.parse().ok()?))
}

/// The name of the process that has the socket open.
fn process_with_socket(inode: u64) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?;
    for process in processes.flatten() {
        let path = process.path();
        if has_open(&path, &wanted) {
            return fs::read_to_string(path.join("comm")).ok().map(|name| name.trim().to_owned());
        }
    }
    None
}

fn has_open(process: &Path, wanted: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|to| to.as_os_str() == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
            1: 0100007F:01BB 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n   \
            garbage\n";
        assert_eq!(listening(table), BTreeMap::from([(80, 4711)]));
        assert_eq!(listening(""), BTreeMap::new());
    }

    #[test]
    fn a_port_of_this_process_is_found_with_its_name() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let name = fs::read_to_string("/proc/self/comm").unwrap().trim().to_owned();
        let found = Port { listener: Listener::Http, number: port, holder: Holder::Process(name) };
        assert_eq!(holders(&[(Listener::Http, port)]), [found]);
    }
}
