//! Real compose files, each with the verdict its features have.
//!
//! The files are other people's and are not part of this repository. `JACO_COMPOSE_CORPUS` names their directory, else it is looked
//! for at `../shared/corpus/compose-dev` beside the workspace; a checkout without them skips these tests by name. `corpus-verdicts.tsv`
//! is the reviewed list of verdicts. After a change that means to move some, `JACO_BLESS=1` writes the list anew; review the difference.
//! `JACO_EXPLAIN=<file>` writes every remark with its file, for that review.

// Helpers of a test binary count as tests, which clippy does not see.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jaco_manifest::model::Options;
use jaco_manifest::{
    Checked, Diagnostic, Disk, Files, ProjectRequest, ReadError, Severity, SourceNames, check, resolve,
};
use jaco_types::ErrorCode;

/// One row of `INDEX.tsv`.
struct Row {
    repository: String,
    path: String,
    status: String,
    role: String,
}

impl Row {
    fn name(&self) -> String {
        format!("{}/{}", self.repository, self.path)
    }
}

struct Corpus {
    root: PathBuf,
    rows: Vec<Row>,
    /// By file, the variables it needs and a value that parses.
    variables: BTreeMap<String, Vec<(String, String)>>,
}

impl Corpus {
    /// The corpus, or `None` with a word about the skipped test.
    fn open(test: &str) -> Option<Corpus> {
        let root = std::env::var_os("JACO_COMPOSE_CORPUS").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/compose-dev"),
            PathBuf::from,
        );
        let Ok(index) = std::fs::read_to_string(root.join("INDEX.tsv")) else {
            eprintln!("SKIPPED {test}: no compose files at {} (set JACO_COMPOSE_CORPUS)", root.display());
            return None;
        };
        let rows = table(&index).map(|row| Row {
            repository: row["repo"].to_owned(),
            path: row["path"].to_owned(),
            status: row["status"].to_owned(),
            role: row["role"].to_owned(),
        });
        let rows = rows.collect();
        let mut variables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        let needed = std::fs::read_to_string(root.join("VARS.tsv")).unwrap();
        // What the file's own .env sets is left to it.
        for row in table(&needed).filter(|row| row["in_dotenv"].is_empty()) {
            let file = format!("{}/{}", row["repo"], row["path"]);
            let known = variables.entry(file).or_default();
            known.push((row["variable"].to_owned(), value(row["variable"], row["suggested"], known.len())));
        }
        Some(Corpus { root, rows, variables })
    }

    /// Reads and judges one file beside the smallest `jaco.yaml`, with every profile active, so that each service is judged.
    fn judge(&self, row: &Row) -> Checked {
        let directory = row.path.rsplit_once('/').map(|(directory, _)| format!("{directory}/")).unwrap_or_default();
        let disk = Disk::new(self.root.join(&row.repository));
        let mut environment = disk.read(&format!("{directory}.env")).unwrap_or_default();
        for (name, value) in self.variables.get(&row.name()).into_iter().flatten() {
            environment.extend(format!("\n{name}={value}").bytes());
        }
        let files = WithJaco {
            jaco_path: format!("{directory}jaco.test.yaml"),
            environment_path: format!("{directory}jaco.test.env"),
            environment,
            disk,
        };
        let request = ProjectRequest {
            jaco_path: Some(files.jaco_path.clone()),
            compose: vec![row.path.clone()],
            profiles: vec!["*".to_owned()],
        };
        check(&files, &request, &Options::default())
    }
}

/// The directory of one repository, with a `jaco.yaml` and its environment file beside the compose file.
struct WithJaco {
    jaco_path: String,
    environment_path: String,
    environment: Vec<u8>,
    disk: Disk,
}

const JACO: &str = "deployment: corpus\nenvironment: jaco.test.env\n";

impl Files for WithJaco {
    fn read(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        match path {
            path if path == self.jaco_path => Ok(JACO.as_bytes().to_vec()),
            path if path == self.environment_path => Ok(self.environment.clone()),
            // Many projects name an environment file that the user is to write: an empty one is a user's least.
            path => {
                self.disk.read(path).or_else(|error| if path.contains(".env") { Ok(Vec::new()) } else { Err(error) })
            }
        }
    }

    fn exists(&self, path: &str) -> bool {
        path == self.jaco_path || path == self.environment_path || self.disk.exists(path)
    }
}

/// The value of one of the variables of a file. The table suggests one port for all ports of a file, which no file means, and a
/// relative path where a path in the container or a volume's name is wanted.
fn value(variable: &str, suggested: &str, index: usize) -> String {
    match suggested {
        "18080" => (18080 + index).to_string(),
        "./unset" if variable == "ZO_DATA_DIR" => "/unset".to_owned(),
        "./unset" if variable.starts_with("PENPOT_") && variable.ends_with("_VOLUME") => "unset".to_owned(),
        other => other.to_owned(),
    }
}

/// The rows of a table with a header, by column.
fn table(text: &str) -> impl Iterator<Item = BTreeMap<&str, &str>> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines.map(move |line| header.iter().copied().zip(line.split('\t').chain(std::iter::repeat(""))).collect())
}

/// What was decided about a file: whether it is accepted, and each remark by kind and feature.
fn verdicts<'a>(accepted: bool, diagnostics: impl Iterator<Item = &'a Diagnostic>) -> BTreeSet<String> {
    let mut verdicts: BTreeSet<String> = diagnostics.map(verdict).collect();
    if accepted {
        verdicts.insert("accepted".to_owned());
    }
    verdicts
}

fn verdict(diagnostic: &Diagnostic) -> String {
    let feature = match diagnostic.details.get("feature") {
        Some(feature) => feature.as_str(),
        // The front end names the variable: a key without a value, or a text that needs it.
        None if diagnostic.details.contains_key("variable") && diagnostic.severity == Severity::Note => {
            "environment.unset"
        }
        None if diagnostic.details.contains_key("variable") => "variable.unset",
        None => diagnostic.code.as_str(),
    };
    match diagnostic.severity {
        Severity::Note => format!("noted:{feature}"),
        Severity::Warning => format!("warned:{feature}"),
        Severity::Error if diagnostic.code == ErrorCode::NotSupportedYet => format!("not_yet:{feature}"),
        Severity::Error => format!("refused:{feature}"),
    }
}

fn of(checked: &Checked) -> BTreeSet<String> {
    verdicts(checked.resolution.spec.is_some(), checked.resolution.diagnostics.iter())
}

fn list_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus-verdicts.tsv")
}

#[test]
fn every_real_file_has_its_reviewed_verdict() {
    let Some(corpus) = Corpus::open("every_real_file_has_its_reviewed_verdict") else { return };
    let rows: Vec<&Row> = corpus.rows.iter().filter(|row| row.status == "ok" && row.role != "testdata").collect();
    let refused: Vec<&Row> =
        corpus.rows.iter().filter(|row| matches!(row.status.as_str(), "invalid" | "overlay")).collect();
    let mut found = BTreeMap::new();
    let mut explain = String::new();
    for row in rows.iter().chain(&refused) {
        let checked = corpus.judge(row);
        found.insert(row.name(), of(&checked).into_iter().collect::<Vec<_>>().join(" "));
        if std::env::var_os("JACO_EXPLAIN").is_some() {
            let lines = checked.resolution.diagnostics.iter().map(|d| format!("{}\t{}\t{d}\n", row.name(), verdict(d)));
            explain.extend(lines);
        }
    }
    if let Some(path) = std::env::var_os("JACO_EXPLAIN") {
        std::fs::write(path, explain).unwrap();
    }
    for row in &refused {
        assert!(!found[&row.name()].contains("accepted"), "{} must be refused", row.name());
    }
    print_counts(rows.len(), rows.iter().map(|row| found[&row.name()].as_str()));
    if std::env::var_os("JACO_BLESS").is_some() {
        let lines: String = found.iter().map(|(path, verdicts)| format!("{path}\t{verdicts}\n")).collect();
        std::fs::write(list_path(), format!("path\tverdicts\n{lines}")).unwrap();
    }
    let reviewed = std::fs::read_to_string(list_path()).unwrap_or_default();
    let reviewed: BTreeMap<&str, &str> = reviewed.lines().skip(1).filter_map(|line| line.split_once('\t')).collect();
    let differences: String = found
        .iter()
        .filter(|(path, verdicts)| reviewed.get(path.as_str()) != Some(&verdicts.as_str()))
        .map(|(path, verdicts)| {
            format!("{path}\n  reviewed: {}\n  found:    {verdicts}\n", reviewed.get(path.as_str()).unwrap_or(&"-"))
        })
        .collect();
    assert!(differences.is_empty(), "{differences}");
    assert_eq!(reviewed.len(), found.len(), "the list has files that the corpus has not");
}

fn print_counts<'a>(files: usize, verdicts: impl Iterator<Item = &'a str>) {
    let (mut accepted, mut noted, mut warned, mut not_yet, mut refused) = (0, 0, 0, 0, 0);
    let mut features: BTreeMap<&str, usize> = BTreeMap::new();
    for line in verdicts {
        accepted += usize::from(line.starts_with("accepted"));
        noted += usize::from(line.contains("noted:"));
        warned += usize::from(line.contains("warned:"));
        refused += usize::from(line.contains("refused:"));
        not_yet += usize::from(line.contains("not_yet:") && !line.contains("refused:"));
        line.split(' ').for_each(|verdict| *features.entry(verdict).or_default() += 1);
    }
    println!(
        "{files} real compose files: {accepted} accepted, {not_yet} wait for a later version only, {refused} refused"
    );
    println!("({noted} have notes, {warned} have warnings); by verdict:");
    for (feature, count) in features {
        println!("{count:5}  {feature}");
    }
}

/// What is sent means what was read: the daemon's view of the text is the client's view of the files.
#[test]
fn the_text_that_is_sent_means_the_same_to_the_daemon() {
    let Some(corpus) = Corpus::open("the_text_that_is_sent_means_the_same_to_the_daemon") else { return };
    let mut compared = 0;
    for row in corpus.rows.iter().filter(|row| row.status == "ok") {
        let checked = corpus.judge(row);
        let Some(project) = &checked.project else { continue };
        let received = resolve(&project.jaco_yaml, &project.compose_yaml, &SourceNames::default(), &Options::default());
        let sent = checked.resolution.spec;
        assert_eq!(sent.is_some(), received.spec.is_some(), "{}", row.name());
        assert_eq!(sent, received.spec, "{}", row.name());
        compared += 1;
    }
    assert!(compared > 300, "only {compared} files could be read");
}

/// Test data of other programs is odd on purpose: any answer will do, as long as there is one.
#[test]
fn odd_files_get_an_answer() {
    let Some(corpus) = Corpus::open("odd_files_get_an_answer") else { return };
    for row in corpus.rows.iter().filter(|row| row.role == "testdata") {
        let checked = corpus.judge(row);
        assert!(checked.resolution.spec.is_some() || checked.resolution.diagnostics.has_errors(), "{}", row.name());
    }
}
