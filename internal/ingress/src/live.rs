//! A [`Table`] made ready for use: hosts indexed, endpoints bound to the upstreams that are already known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};

use jaco_types::Protocol;

use crate::router::Router;
use crate::table::Table;
use crate::upstream::{Upstream, UpstreamKey, UpstreamSet};

/// What requests and connections are looked up in.
#[derive(Default)]
pub(crate) struct LiveTable {
    pub(crate) router: Router<Arc<UpstreamSet>>,
    pub(crate) ports: BTreeMap<(Protocol, u16), Arc<UpstreamSet>>,
}

/// Every upstream that some table or request still uses, so that load, health and connections outlive a change of the table.
#[derive(Default)]
pub(crate) struct Registry {
    upstreams: HashMap<UpstreamKey, Weak<Upstream>>,
    /// Containers that the table in force names.
    named: HashSet<String>,
    /// Those among them that must not be chosen nevertheless.
    withdrawn: HashSet<String>,
}

impl Registry {
    /// Compiles a table. A withdrawal ends when the table no longer names its container.
    pub(crate) fn compile(&mut self, table: &Table, workers: usize) -> LiveTable {
        let endpoints = table.backends.iter().flat_map(|backend| &backend.endpoints);
        self.named = endpoints.map(|endpoint| endpoint.container.clone()).collect();
        self.withdrawn.retain(|container| self.named.contains(container));
        self.upstreams.retain(|_, upstream| upstream.strong_count() > 0);
        let sets: Vec<Arc<UpstreamSet>> = table
            .backends
            .iter()
            .map(|backend| {
                let upstreams = backend.endpoints.iter().map(|endpoint| {
                    let key = UpstreamKey {
                        address: endpoint.address,
                        container: endpoint.container.clone(),
                        protocol: backend.protocol,
                    };
                    self.upstream(key, workers)
                });
                Arc::new(UpstreamSet::new(upstreams.collect()))
            })
            .collect();
        let mut live = LiveTable::default();
        for route in &table.routes {
            if let Some(set) = sets.get(route.backend) {
                live.router.insert(&route.domain, &route.path, route.strip_path, Arc::clone(set));
            }
        }
        for port in &table.ports {
            if let Some(set) = sets.get(port.backend) {
                live.ports.insert((port.protocol, port.host_port), Arc::clone(set));
            }
        }
        live
    }

    fn upstream(&mut self, key: UpstreamKey, workers: usize) -> Arc<Upstream> {
        let withdrawn = self.withdrawn.contains(&key.container);
        // One that is left over from a withdrawal that has ended stays closed; its container starts anew.
        if let Some(known) = self.upstreams.get(&key).and_then(Weak::upgrade)
            && known.is_withdrawn() == withdrawn
        {
            return known;
        }
        let fresh = Arc::new(Upstream::new(key.clone(), workers));
        fresh.set_withdrawn(withdrawn);
        self.upstreams.insert(key, Arc::downgrade(&fresh));
        fresh
    }

    /// Closes every upstream of a container and returns those still in use. A container that the table has left already may come back
    /// with a later one: it was restarted then, and nothing keeps it out.
    pub(crate) fn withdraw(&mut self, container: &str) -> Vec<Arc<Upstream>> {
        if self.named.contains(container) {
            self.withdrawn.insert(container.to_owned());
        }
        let of_container = self.of_container(container);
        for upstream in &of_container {
            upstream.set_withdrawn(true);
        }
        of_container
    }

    /// Takes a withdrawal back.
    pub(crate) fn restore(&mut self, container: &str) {
        if self.withdrawn.remove(container) {
            for upstream in self.of_container(container) {
                upstream.set_withdrawn(false);
            }
        }
    }

    fn of_container(&self, container: &str) -> Vec<Arc<Upstream>> {
        self.upstreams
            .iter()
            .filter(|(key, _)| key.container == container)
            .filter_map(|(_, known)| known.upgrade())
            .collect()
    }

    /// Every upstream there is.
    pub(crate) fn all(&self) -> Vec<Arc<Upstream>> {
        self.upstreams.values().filter_map(Weak::upgrade).collect()
    }
}
