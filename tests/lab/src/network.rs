//! The network between the hosts, and its faults.
//!
//! Frames are dropped in the switch, so established connections stall as they do when a cable is cut: no reset, no carrier change. The
//! same is true of a dead host: hosts know each other's hardware addresses beforehand, so nobody is told "no route to host".

mod rules;

use std::net::Ipv4Addr;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::capabilities::{Capability, check};
use crate::host::Host;
use crate::namespace::{call, inside_network, ip, nft};
use crate::process::PidRecord;
use crate::state::{host_name, switch_address};

pub(crate) use rules::table;

/// The switch that all hosts of a lab hang off. Faults add up; [`Network::heal`] undoes all of them.
#[derive(Debug)]
pub struct Network {
    keeper: PidRecord,
    subnet: u8,
    hosts: usize,
    /// Why there is no netem, once somebody asked; the question costs a process.
    no_netem: OnceLock<Option<String>>,
}

impl Network {
    pub(crate) fn new(keeper: PidRecord, subnet: u8, hosts: usize) -> Self {
        Network { keeper, subnet, hosts, no_netem: OnceLock::new() }
    }

    /// The switch's own address: where the hosts see an outside client come from.
    pub fn address(&self) -> Ipv4Addr {
        switch_address(self.subnet)
    }

    /// Does something on a thread whose sockets are in the switch's namespace: the place of a client outside the cluster.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        inside_network(self.keeper, work)
    }

    /// Cuts the link between two hosts, both ways. They still reach the others.
    pub fn cut(&self, a: &Host, b: &Host) -> anyhow::Result<()> {
        self.apply(&(rules::cut(a.name(), b.name()) + &rules::cut(b.name(), a.name())))
    }

    /// Drops what one host sends to another; the way back stays open.
    pub fn cut_one_way(&self, from: &Host, to: &Host) -> anyhow::Result<()> {
        self.apply(&rules::cut(from.name(), to.name()))
    }

    /// Undoes the cuts between two hosts, and nothing else.
    pub fn mend(&self, a: &Host, b: &Host) -> anyhow::Result<()> {
        self.apply(&(rules::mend(a.name(), b.name()) + &rules::mend(b.name(), a.name())))
    }

    /// Cuts a host off from everybody, the switch's own address included.
    pub fn isolate(&self, host: &Host) -> anyhow::Result<()> {
        self.apply(&rules::isolate(host.name()))
    }

    /// Cuts every link between two groups of hosts.
    pub fn partition(&self, one: &[&Host], other: &[&Host]) -> anyhow::Result<()> {
        let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a.name(), b.name())));
        self.apply(&pairs.map(|(a, b)| rules::cut(a, b) + &rules::cut(b, a)).collect::<String>())
    }

    /// Drops frames of a host at random, in each direction this many of a hundred; 0 ends it.
    pub fn loss(&self, host: &Host, percent: u8) -> anyhow::Result<()> {
        ensure!(percent <= 100, "a loss of {percent} percent");
        self.apply(&rules::loss(host.name(), percent))
    }

    /// Holds every frame of a host back for so long, in each direction; zero ends it.
    ///
    /// # Errors
    /// "not available here" where the kernel has no netem: ask [`crate::Capabilities`] first.
    pub fn delay(&self, host: &Host, delay: Duration) -> anyhow::Result<()> {
        if let Some(reason) = self.no_netem() {
            bail!("delay is not available here: {reason}");
        }
        self.inside(|| set_delay(host.name(), delay))??;
        host.inside(|| set_delay("eth0", delay))?
    }

    /// Undoes every fault.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.apply(&table(self.hosts))?;
        if self.no_netem().is_none() {
            for number in 1..=self.hosts {
                let port = host_name(number);
                // A host that is off has no port.
                let _ = self.inside(|| set_delay(&port, Duration::ZERO))?;
            }
        }
        Ok(())
    }

    fn no_netem(&self) -> Option<&str> {
        self.no_netem.get_or_init(|| check(Capability::Netem).err()).as_deref()
    }

    /// The rules in force, as `nft` lists them.
    pub fn rules(&self) -> anyhow::Result<String> {
        self.inside(|| call("nft", &["list", "table", "bridge", rules::TABLE]))?
    }

    fn apply(&self, script: &str) -> anyhow::Result<()> {
        self.inside(|| nft(script))?
    }

    /// Takes the carrier of a host's port away, in silence for everybody else; a host that is off has no port.
    pub(crate) fn unplug(keeper: PidRecord, port: &str) -> anyhow::Result<()> {
        inside_network(keeper, || {
            if std::path::Path::new("/proc/sys/net/ipv4/conf").join(port).exists() {
                ip(&format!("link set {port} down\n"))?;
            }
            Ok(())
        })?
    }

    /// Removes a host's port.
    pub(crate) fn remove_port(keeper: PidRecord, port: &str) -> anyhow::Result<()> {
        inside_network(keeper, || {
            // Gone already when the kernel was quicker to take the dead host's network apart.
            let _ = call("ip", &["link", "delete", port]);
        })
    }
}

fn set_delay(device: &str, delay: Duration) -> anyhow::Result<()> {
    if delay.is_zero() {
        // Fails when there is none.
        let _ = call("tc", &["qdisc", "delete", "dev", device, "root"]);
        return Ok(());
    }
    let time = format!("{}us", delay.as_micros());
    call("tc", &["qdisc", "replace", "dev", device, "root", "netem", "delay", &time]).map(|_| ()).context("netem")
}
