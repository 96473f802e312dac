//! `ports` and `expose`.
//!
//! A host port opens a listener on every node. An entry without a host port, or for one address of a host, opens nothing in the
//! cluster: its container port is kept as exposed, and the user is told.

use std::ops::RangeInclusive;

use jaco_types::Protocol;

use crate::reading::report::{Field, Report, Spot, shorten};
use crate::reading::{keys, read};

/// One host port of a service.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    /// Protocol.
    pub(crate) protocol: Protocol,
    /// Port on the nodes.
    pub(crate) host: u16,
    /// Port in the container.
    pub(crate) target: u16,
    /// Where it is written.
    pub(crate) spot: Spot,
}

/// One entry before it is opened out.
struct Publication {
    address: String,
    /// `None` when the engine would choose.
    host: Option<RangeInclusive<u16>>,
    target: RangeInclusive<u16>,
    protocol: Protocol,
}

/// Reads the list; of two equal entries one counts.
pub(crate) fn read(report: &mut Report<'_>, field: &Field<'_>, expose: &mut Vec<String>) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::new();
    for item in report.items(field) {
        let publication = match item.scalar() {
            Some(_) if item.is_off() => continue,
            Some(scalar) => short(&scalar.text).map_err(|problem| report.invalid(&item, problem)).ok(),
            None => long(report, &item),
        };
        if let Some(publication) = publication {
            open(report, &item, &publication, &mut ports, expose);
        }
    }
    ports
}

fn open(
    report: &mut Report<'_>,
    item: &Field<'_>,
    entry: &Publication,
    ports: &mut Vec<Port>,
    expose: &mut Vec<String>,
) {
    let one_address = !matches!(entry.address.as_str(), "" | "0.0.0.0" | "::");
    let Some(host) = &entry.host else {
        report.note(
            "ports.container_only",
            item,
            "a port without a host port opens nothing: other services reach it anyway; for the outside use a route, or write \
             `<host port>:<container port>`",
        );
        return keep(expose, entry);
    };
    if one_address {
        report.warn(
            "ports.host_ip",
            item,
            format!(
                "a port of one address ({}) opens nothing in a cluster; use a route, or leave the address out to open the port \
                 on every node",
                entry.address
            ),
        );
        return keep(expose, entry);
    }
    let (many_hosts, many_targets) = (host.clone().count(), entry.target.clone().count());
    if many_hosts != many_targets {
        report.invalid(
            item,
            format!("{many_hosts} host ports for {many_targets} container ports; both ranges must be of one length"),
        );
        return;
    }
    if !report.take_ports(item, many_hosts) {
        return;
    }
    for (host, target) in host.clone().zip(entry.target.clone()) {
        let same = |p: &Port| p.protocol == entry.protocol && p.host == host && p.target == target;
        if !ports.iter().any(same) {
            ports.push(Port { protocol: entry.protocol, host, target, spot: item.spot() });
        }
    }
}

fn keep(expose: &mut Vec<String>, entry: &Publication) {
    add_exposed(expose, &entry.target, entry.protocol);
}

fn add_exposed(expose: &mut Vec<String>, range: &RangeInclusive<u16>, protocol: Protocol) {
    let (first, last) = (range.start(), range.end());
    let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
    let line = format!("{ports}/{}", protocol.as_str());
    if !expose.contains(&line) {
        expose.push(line);
    }
}

/// `expose`: numbers, ranges, with or without protocol.
pub(crate) fn read_expose(report: &mut Report<'_>, field: &Field<'_>, expose: &mut Vec<String>) {
    for (item, text) in read::texts(report, field, false) {
        let parsed = split_protocol(&text).and_then(|(ports, protocol)| Ok((range(ports)?, protocol)));
        match parsed {
            Ok((range, protocol)) => add_exposed(expose, &range, protocol),
            Err(problem) => report.invalid(&item, problem),
        }
    }
}

/// `[[address:][host[-host]]:]container[-container][/protocol]`.
fn short(text: &str) -> Result<Publication, String> {
    let (text, protocol) = split_protocol(text.trim())?;
    let (before, target) = match text.rsplit_once(':') {
        Some((before, target)) => (Some(before), target),
        None => (None, text),
    };
    let target = range(target)?;
    let Some(before) = before else {
        return Ok(Publication { address: String::new(), host: None, target, protocol });
    };
    let (address, host) = match before.strip_prefix('[') {
        Some(bracketed) => {
            let (address, rest) = bracketed.split_once(']').ok_or("the bracket of the address is not closed")?;
            (address, rest.strip_prefix(':').ok_or("a `:` is missing after the bracket of the address")?)
        }
        None => before.rsplit_once(':').unwrap_or(("", before)),
    };
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("{:?} is no address", shorten(address)));
    }
    let host = if host.is_empty() { None } else { Some(range(host)?) };
    Ok(Publication { address: address.to_owned(), host, target, protocol })
}

fn long(report: &mut Report<'_>, field: &Field<'_>) -> Option<Publication> {
    let mut address = String::new();
    let (mut host, mut target, mut protocol) = (None, None, Protocol::Tcp);
    for (key, value) in report.keyed(field, &keys::PORT) {
        let Some(text) = read::text(report, &value) else { continue };
        let problem = match key {
            "target" => range(&text).map(|range| target = Some(range)).err(),
            // Zero lets the engine choose, as leaving it out does.
            "published" if text == "0" => None,
            "published" => range(&text).map(|range| host = Some(range)).err(),
            "protocol" => parse_protocol(&text).map(|given| protocol = given).err(),
            "host_ip" if text.parse::<std::net::IpAddr>().is_err() => Some("is no address".to_owned()),
            "host_ip" => {
                address = text;
                None
            }
            "mode" if text == "host" => {
                report.note("ports.mode_host", &value, "`mode: host` has no effect: the port opens on every node");
                None
            }
            "mode" if text == "ingress" => None,
            _ => Some("must be host or ingress".to_owned()),
        };
        if let Some(problem) = problem {
            report.invalid(&value, problem);
            return None;
        }
    }
    let Some(target) = target else {
        report.invalid(field, "has no `target`");
        return None;
    };
    Some(Publication { address, host, target, protocol })
}

fn split_protocol(text: &str) -> Result<(&str, Protocol), String> {
    match text.split_once('/') {
        None => Ok((text, Protocol::Tcp)),
        Some((ports, protocol)) => Ok((ports, parse_protocol(protocol)?)),
    }
}

fn parse_protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        other => Err(format!("the protocol {:?} is not offered; use tcp or udp", shorten(other))),
    }
}

/// One port or `first-last`.
fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let text = text.trim();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        (Some(_), Some(_)) => Err(format!("the range {} runs backwards", shorten(text))),
        _ => Err(format!("{:?} is no port; a port is a number between 1 and 65535", shorten(text))),
    }
}

fn port(text: &str) -> Option<u16> {
    let text = text.trim();
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|port| *port > 0)
}
