//! Routes: in `status`, `get routes` and `get route`.

use jaco_proto::v1;
use serde::Serialize;

use super::upper;
use crate::printer::View;
use crate::table::Table;

/// A route in `status` and `get routes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    pub domain: String,
    pub path: String,
    pub deployment: String,
    pub service: String,
    pub port: u32,
    pub tls: String,
    pub strip_path: bool,
}

impl From<v1::Route> for Route {
    fn from(wire: v1::Route) -> Self {
        Route {
            domain: wire.domain,
            path: wire.path,
            deployment: wire.deployment,
            service: wire.service,
            port: wire.port,
            tls: wire.tls,
            strip_path: wire.strip_path,
        }
    }
}

/// A path for people: the catch-all is `/`.
pub fn shown_path(path: &str) -> String {
    if path.is_empty() { "/".to_owned() } else { path.to_owned() }
}

/// A row of the route table of `status`.
pub fn status_row(route: &Route) -> [String; 6] {
    [
        route.domain.clone(),
        shown_path(&route.path),
        route.deployment.clone(),
        route.service.clone(),
        route.port.to_string(),
        upper(&route.tls),
    ]
}

/// `get routes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct List(pub Vec<Route>);

impl From<v1::GetRoutesResponse> for List {
    fn from(wire: v1::GetRoutesResponse) -> Self {
        List(wire.routes.into_iter().map(Route::from).collect())
    }
}

impl View for List {
    fn table(&self) -> String {
        let mut table = Table::new(&["DOMAIN", "PATH", "DEPLOYMENT", "SERVICE", "PORT", "TLS", "STRIP_PATH"]);
        for route in &self.0 {
            let [domain, path, deployment, service, port, tls] = status_row(route);
            table.row([domain, path, deployment, service, port, tls, route.strip_path.to_string()]);
        }
        table.render()
    }

    fn quiet(&self) -> String {
        self.0.iter().map(|route| format!("{}{}\n", route.domain, shown_path(&route.path))).collect()
    }
}

/// A route of one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DomainRoute {
    pub path: String,
    pub catch_all: bool,
    pub deployment: String,
    pub service: String,
    pub port: u32,
    pub tls: String,
    pub strip_path: bool,
    pub ready_replicas: u32,
    pub total_replicas: u32,
}

/// `get route <domain>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Domain {
    pub domain: String,
    /// In match order.
    pub routes: Vec<DomainRoute>,
}

impl From<v1::GetRouteResponse> for Domain {
    fn from(wire: v1::GetRouteResponse) -> Self {
        let route = |wire: v1::Route| DomainRoute {
            catch_all: wire.path.is_empty() || wire.path == "/",
            path: wire.path,
            deployment: wire.deployment,
            service: wire.service,
            port: wire.port,
            tls: wire.tls,
            strip_path: wire.strip_path,
            ready_replicas: wire.ready_replicas,
            total_replicas: wire.total_replicas,
        };
        Domain { domain: wire.domain, routes: wire.routes.into_iter().map(route).collect() }
    }
}

impl View for Domain {
    fn table(&self) -> String {
        let mut table = Table::new(&["PATH", "SERVICE", "PORT", "TLS", "STRIP", "FALLBACK", "READY"]);
        for route in &self.routes {
            table.row([
                shown_path(&route.path),
                route.service.clone(),
                route.port.to_string(),
                upper(&route.tls),
                route.strip_path.to_string(),
                route.catch_all.to_string(),
                format!("{}/{}", route.ready_replicas, route.total_replicas),
            ]);
        }
        table.render()
    }

    fn quiet(&self) -> String {
        self.routes.iter().map(|route| format!("{}\n", shown_path(&route.path))).collect()
    }
}
