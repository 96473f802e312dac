//! What a writer knows about its deployment, and what may be found after a crash.

use anyhow::{Context, ensure};
use jaco_e2e::{Cli, Project, WEB_IMAGE};
use serde_json::Value;

/// A change that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// A manifest with this mark.
    Apply(u64),
    /// Nothing is to be left.
    Delete,
}

/// What is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// No such deployment.
    Nothing,
    /// A revision with the manifest of this mark.
    Revision { number: u64, mark: u64 },
}

/// One deployment as its writer knows it.
pub(crate) struct Book {
    pub(crate) name: String,
    project: Project,
    last_mark: u64,
    /// The highest revision number that was ever seen.
    highest: u64,
    /// What was acknowledged last, or found after a crash.
    known: Stored,
    /// Asked for, and the answer never came.
    open: Option<Change>,
    pub(crate) acknowledged: usize,
}

fn domain(name: &str, mark: u64) -> String {
    format!("{name}-{mark}.test")
}

impl Book {
    pub(crate) fn new(name: &str) -> anyhow::Result<Book> {
        let project = Project::new("", "")?;
        let name = name.to_owned();
        Ok(Book { name, project, last_mark: 0, highest: 0, known: Stored::Nothing, open: None, acknowledged: 0 })
    }

    /// Chooses the next change: seven applies, then a delete. Gives the client's arguments.
    pub(crate) fn begin(&mut self) -> anyhow::Result<Vec<String>> {
        if self.known != Stored::Nothing && self.last_mark % 8 == 7 {
            self.last_mark += 1;
            self.open = Some(Change::Delete);
            return Ok(["-o", "json", "delete", &self.name].map(str::to_owned).to_vec());
        }
        self.last_mark += 1;
        let (name, mark) = (&self.name, self.last_mark);
        // Two routes and two services: a mixture of two revisions would show.
        let route = |domain: &str, service: &str| {
            format!("  - domain: {domain}\n    service: {service}\n    port: 80\n    tls: off\n")
        };
        let jaco = format!(
            "deployment: {name}\nservices:\n  - name: a\n    replicas: 0\n  - name: b\n    replicas: 0\nroutes:\n{}{}",
            route(&domain(name, mark), "a"),
            route(&format!("www.{}", domain(name, mark)), "b"),
        );
        let service =
            |service: &str| format!("  {service}:\n    image: {WEB_IMAGE}\n    environment:\n      MARK: \"{mark}\"\n");
        self.project.write("jaco.yaml", &jaco)?;
        self.project.write("compose.yml", &format!("services:\n{}{}", service("a"), service("b")))?;
        self.open = Some(Change::Apply(mark));
        Ok(vec!["-o".to_owned(), "json".to_owned(), "apply".to_owned(), self.project.jaco()])
    }

    /// The answer came: what was asked for is acknowledged.
    pub(crate) fn acknowledge(&mut self, answer: &str) -> anyhow::Result<()> {
        let answer: Value =
            serde_json::from_str(answer).with_context(|| format!("an answer that is no JSON: {answer}"))?;
        self.known = match self.open.take().context("an answer to nothing")? {
            Change::Delete => Stored::Nothing,
            Change::Apply(mark) => {
                let number = answer["applied_revision"].as_u64().with_context(|| format!("no revision: {answer}"))?;
                ensure!(number > self.highest, "revision {number} of {} after {}", self.name, self.highest);
                self.highest = number;
                Stored::Revision { number, mark }
            }
        };
        self.acknowledged += 1;
        Ok(())
    }

    /// Compares with what is there; from now on that is what is known.
    pub(crate) fn check(&mut self, cli: &Cli, routes: &Value) -> anyhow::Result<()> {
        let found = self.found(cli, routes)?;
        let (known, open) = (self.known, self.open.take());
        let happened = match (open, found) {
            (Some(Change::Apply(asked)), Stored::Revision { number, mark }) => mark == asked && number > self.highest,
            (Some(Change::Delete), Stored::Nothing) => true,
            (Some(Change::Apply(_) | Change::Delete) | None, _) => false,
        };
        ensure!(
            found == known || happened,
            "{}: {known:?} was acknowledged, {open:?} open, {found:?} found",
            self.name
        );
        if let Stored::Revision { number, .. } = found {
            self.highest = self.highest.max(number);
        }
        self.known = found;
        Ok(())
    }

    /// What is stored: every part of it must tell of the same mark.
    fn found(&self, cli: &Cli, routes: &Value) -> anyhow::Result<Stored> {
        let mut own: Vec<&str> = routes
            .as_array()
            .into_iter()
            .flatten()
            .filter(|route| route["deployment"] == self.name.as_str())
            .filter_map(|route| route["domain"].as_str())
            .collect();
        own.sort_unstable();
        let answer = cli.try_run(&["-o", "json", "get", "deployment", &self.name]);
        if answer.code == 4 {
            ensure!(own.is_empty(), "{} is not there, but these routes are: {own:?}", self.name);
            return Ok(Stored::Nothing);
        }
        ensure!(answer.code == 0, "{answer:?}");
        let deployment: Value = serde_json::from_str(&answer.stdout)?;
        let text = |key: &str| deployment[key].as_str().unwrap_or_default();
        let mark: u64 = text("compose_yaml")
            .split("MARK: \"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .and_then(|mark| mark.parse().ok())
            .with_context(|| format!("no mark in {deployment}"))?;
        let compose_agrees = text("compose_yaml").matches(&format!("MARK: \"{mark}\"")).count() == 2;
        let jaco_agrees = text("jaco_yaml").matches(&format!("{}\n", domain(&self.name, mark))).count() == 2;
        ensure!(compose_agrees && jaco_agrees, "two manifests in one revision: {deployment}");
        let wanted = [domain(&self.name, mark), format!("www.{}", domain(&self.name, mark))];
        ensure!(own == wanted, "{} has mark {mark} and these routes: {own:?}", self.name);
        let number = deployment["applied_revision"].as_u64().context("no applied revision")?;
        let history = cli.json(&["history", &self.name])?;
        let active: Vec<u64> = history["revisions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|revision| revision["active"] == true)
            .filter_map(|revision| revision["revision"].as_u64())
            .collect();
        ensure!(active == [number], "the active revision is {number}, but the history says {history}");
        Ok(Stored::Revision { number, mark })
    }
}
