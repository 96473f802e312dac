//! `jaco.yaml`: what the compose file does not say. A closed schema at every level; keys that begin with `x-` are ignored.

mod routes;
mod services;
#[cfg(test)]
mod tests;

use jaco_types::DeploymentName;

pub use routes::Route;
pub use services::ServiceOverride;

use crate::reading::keys::{Key, Table, Verdict};
use crate::reading::read;
use crate::reading::report::{Field, Report};
use crate::{Diagnostics, Node, Position};

/// A valid `jaco.yaml`, as far as it can be judged alone. The default stands for none: a compose file validated by itself.
#[derive(Debug, Clone, Default)]
pub struct JacoFile {
    /// The deployment's name; `None` when it is missing or wrong, which was reported.
    pub deployment: Option<DeploymentName>,
    /// The environment file as written, relative to this file, and where that stands.
    pub environment: Option<(String, Position)>,
    /// The address certificates are asked for with.
    pub acme_email: Option<String>,
    /// Routes in the order written.
    pub routes: Vec<Route>,
    /// Overrides of compose services; names are unique.
    pub services: Vec<ServiceOverride>,
}

const fn key(name: &'static str) -> Key {
    Key { name, verdict: Verdict::Supported }
}

static FILE: Table = Table {
    scope: "jaco",
    keys: &[key("deployment"), key("environment"), key("acme"), key("acme_email"), key("routes"), key("services")],
};

/// Reads the file. What is wrong goes to `diagnostics`; `None` when it is no mapping at all.
pub fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<JacoFile> {
    let root = Field::root(node);
    let mut report = Report::new(diagnostics);
    report.ignore_extensions();
    if !matches!(node.value, crate::Value::Map(_)) {
        report.invalid(&root, "jaco.yaml must be a mapping that names a `deployment`");
        return None;
    }
    let mut file = JacoFile::default();
    let mut acme = true;
    let (mut email, mut routes, mut has_name) = (None, None, false);
    for (key, value) in report.keyed(&root, &FILE) {
        match key {
            "deployment" => {
                has_name = !value.is_off();
                file.deployment = deployment(&mut report, &value);
            }
            "environment" => {
                file.environment = read::text(&mut report, &value).map(|path| (path, value.node.at.clone()));
            }
            "acme" => acme = switch(&mut report, &value).unwrap_or(true),
            "acme_email" => email = Some(value),
            "routes" => routes = Some(value),
            _ => file.services = services::read(&mut report, &value),
        }
    }
    if !has_name {
        report.invalid(&root, "`deployment` is missing: name the deployment");
    }
    file.acme_email = email.and_then(|field| acme_email(&mut report, &field, acme));
    file.routes = routes.map(|field| routes::read(&mut report, &field, acme)).unwrap_or_default();
    Some(file)
}

fn deployment(report: &mut Report<'_>, field: &Field<'_>) -> Option<DeploymentName> {
    let name = read::text(report, field)?;
    DeploymentName::new(name).map_err(|problem| report.invalid(field, problem.to_string())).ok()
}

/// `on` or `off`, with the other spellings of a boolean.
fn switch(report: &mut Report<'_>, field: &Field<'_>) -> Option<bool> {
    let text = read::text(report, field)?;
    let value = crate::reading::scalar::parse_bool(&text);
    if value.is_none() {
        report.wrong_type(field, "on or off");
    }
    value
}

fn acme_email(report: &mut Report<'_>, field: &Field<'_>, acme: bool) -> Option<String> {
    let address = read::text(report, field)?;
    let good = address.rsplit_once('@').is_some_and(|(local, host)| {
        !local.is_empty()
            && local.len() <= 64
            && !local.contains('@')
            && local.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>' | ',' | ';' | '(' | ')' | '"'))
            && host.contains('.')
            && jaco_types::Domain::new(host).is_ok()
    });
    if acme && !good {
        report.wrong_type(field, "an e-mail address such as ops@example.org");
        return None;
    }
    Some(address)
}
