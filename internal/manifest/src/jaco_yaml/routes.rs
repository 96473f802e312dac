//! `routes[]`.

use std::collections::BTreeMap;

use jaco_types::{Domain, ErrorCode, RouteSpec, RouteTls, ServiceName};

use super::key;
use crate::reading::keys::Table;
use crate::reading::read;
use crate::reading::report::{Field, Report, Spot, shorten};

/// One route, and where it stands.
#[derive(Debug, Clone)]
pub struct Route {
    /// The route; that its service exists is checked against the compose file.
    pub spec: RouteSpec,
    /// Place of the whole entry.
    pub(crate) spot: Spot,
}

static ROUTE: Table = Table {
    scope: "jaco.routes",
    keys: &[key("domain"), key("service"), key("port"), key("tls"), key("path"), key("strip_path")],
};

/// Reads the list; entries that cannot be routes are reported and left out. `acme` gives the TLS mode of those that name none.
pub(super) fn read(report: &mut Report<'_>, field: &Field<'_>, acme: bool) -> Vec<Route> {
    let items = report.items(field);
    let routes: Vec<Route> = items.into_iter().filter_map(|item| route(report, &item, acme)).collect();
    check_unique(report, &routes);
    routes
}

fn route(report: &mut Report<'_>, field: &Field<'_>, acme: bool) -> Option<Route> {
    let (mut domain, mut service, mut port) = (None, None, None);
    let mut tls = if acme { RouteTls::Auto } else { RouteTls::Off };
    let (mut path, mut strip_path) = (Some(String::new()), false);
    let mut given = Vec::new();
    for (key, value) in report.keyed(field, &ROUTE) {
        if !value.is_null() {
            given.push(key);
        }
        match key {
            "domain" => domain = read::text(report, &value).and_then(|text| self::domain(report, &value, &text)),
            "service" => service = read::text(report, &value).and_then(|text| self::service(report, &value, &text)),
            "port" => port = read::integer(report, &value, 1, 65_535).and_then(|n| u16::try_from(n).ok()),
            "tls" => match read::word(report, &value, &["auto", "off"]) {
                Some("off") => tls = RouteTls::Off,
                Some(_) => tls = RouteTls::Auto,
                None => {}
            },
            "path" => path = normal_path(report, &value),
            _ => strip_path = read::boolean(report, &value).unwrap_or_default(),
        }
    }
    for needed in ["domain", "service", "port"] {
        if !given.contains(&needed) {
            report.invalid(field, format!("the route has no `{needed}`"));
        }
    }
    let spec = RouteSpec { domain: domain?, path: path?, service: service?, port: port?, tls, strip_path };
    Some(Route { spec, spot: field.spot() })
}

fn domain(report: &mut Report<'_>, field: &Field<'_>, text: &str) -> Option<Domain> {
    Domain::new(text).map_err(|problem| report.invalid(field, problem.to_string())).ok()
}

fn service(report: &mut Report<'_>, field: &Field<'_>, text: &str) -> Option<ServiceName> {
    ServiceName::new(text).map_err(|problem| report.invalid(field, problem.to_string())).ok()
}

/// `/api`, `/api/` and `/api/*` are one prefix; `/` and nothing are the catch-all.
fn normal_path(report: &mut Report<'_>, field: &Field<'_>) -> Option<String> {
    let Some(text) = read::text(report, field) else {
        return field.scalar().map(|_| String::new());
    };
    let prefix = text.strip_suffix("/*").unwrap_or(&text).trim_end_matches('/');
    if !text.starts_with('/') {
        report.invalid(field, format!("a path starts with `/`: write {:?}", shorten(&format!("/{text}"))));
        return None;
    }
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '*' | '\\');
    if prefix.contains("//") || prefix.split('/').any(|part| matches!(part, "." | "..")) || prefix.contains(strange) {
        report.invalid(field, format!("{:?} is no path prefix; write it like `/api`", shorten(&text)));
        return None;
    }
    Some(prefix.to_owned())
}

/// (domain, path) is unique, a domain has one catch-all and one TLS mode.
fn check_unique(report: &mut Report<'_>, routes: &[Route]) {
    let mut paths: BTreeMap<(&Domain, &str), ()> = BTreeMap::new();
    let mut modes: BTreeMap<&Domain, RouteTls> = BTreeMap::new();
    for Route { spec, spot } in routes {
        if paths.insert((&spec.domain, &spec.path), ()).is_some() {
            if spec.path.is_empty() {
                let message = format!("{} has two routes without a path; give one of them a `path`", spec.domain);
                report.error(ErrorCode::RouteMultipleCatchall, spot, message);
            } else {
                report.invalid(spot, format!("{}{} is routed twice; remove one of them", spec.domain, spec.path));
            }
        }
        if *modes.entry(&spec.domain).or_insert(spec.tls) != spec.tls {
            let message = format!("the routes of {} differ in `tls`; a domain has one mode", spec.domain);
            report.error(ErrorCode::RouteTlsMixed, spot, message);
        }
        if spec.strip_path && spec.path.is_empty() {
            report.note("jaco.routes.strip_path", spot, "`strip_path` has no effect without a `path`");
        }
    }
}
