//! (f) `validate` over real compose files: the work itself beside the YAML loader alone, and the program beside starting any program.
//!
//! The files are other people's and not part of this repository: `JACO_COMPOSE_CORPUS` names their directory, else it is looked for at
//! `../shared/corpus/compose-dev` beside the workspace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context;
use jaco_e2e::program;
use jaco_manifest::model::Options;
use jaco_manifest::yaml::{Budget, load};
use jaco_manifest::{Disk, ProjectRequest, check};
use serde_json::json;

use crate::report::{Figure, Measure, Report};
use crate::stats::{median, paired_ratio};
use crate::{Settings, say};

const WHAT: &str = "(f) validate over the corpus";

/// A compose file: its project's directory and its path in it.
struct File {
    directory: PathBuf,
    path: String,
}

pub(crate) fn run(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let root = std::env::var_os("JACO_COMPOSE_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/compose-dev"),
        PathBuf::from,
    );
    let Ok(index) = std::fs::read_to_string(root.join("INDEX.tsv")) else {
        report.skip(WHAT, format!("no compose files at {} (set JACO_COMPOSE_CORPUS)", root.display()));
        return Ok(());
    };
    let files = files(&root, &index);
    anyhow::ensure!(!files.is_empty(), "{} lists no files", root.display());
    in_process(settings, report, &files)?;
    by_program(settings, report, &files)
}

/// The files that are whole, real projects.
fn files(root: &Path, index: &str) -> Vec<File> {
    let mut lines = index.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines
        .map(|line| header.iter().copied().zip(line.split('\t')).collect::<BTreeMap<_, _>>())
        .filter(|row| row.get("status") == Some(&"ok") && row.get("role") != Some(&"testdata"))
        .filter_map(|row| Some(File { directory: root.join(row.get("repo")?), path: (*row.get("path")?).to_owned() }))
        .collect()
}

fn in_process(settings: &Settings, report: &mut Report, files: &[File]) -> anyhow::Result<()> {
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds(7, 2) {
        let begun = Instant::now();
        for file in files {
            let bytes = std::fs::read(file.directory.join(&file.path)).with_context(|| file.path.clone())?;
            let _loaded = std::hint::black_box(load(&file.path, &bytes, Budget::default()));
        }
        floor.push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        for file in files {
            let request =
                ProjectRequest { jaco_path: None, compose: vec![file.path.clone()], profiles: vec!["*".to_owned()] };
            std::hint::black_box(check(&Disk::new(&file.directory), &request, &Options::default()));
        }
        ours.push(begun.elapsed().as_secs_f64());
    }
    add_figure(
        report,
        &Over { files: files.len(), name: "in one process", floor_name: "read + load the YAML" },
        &ours,
        &floor,
    );
    Ok(())
}

fn by_program(settings: &Settings, report: &mut Report, files: &[File]) -> anyhow::Result<()> {
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    let silent = |command: &mut Command| -> anyhow::Result<()> {
        // Refused files are part of the corpus, so the exit code says nothing here.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        Ok(())
    };
    for _ in 0..settings.rounds(3, 1) {
        let begun = Instant::now();
        for _ in files {
            silent(&mut Command::new("/bin/true"))?;
        }
        floor.push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        for file in files {
            let mut command = Command::new(program("jaco"));
            command.current_dir(&file.directory).args(["validate", "--profile", "*", "--compose", &file.path]);
            silent(&mut command).context("jaco validate")?;
        }
        ours.push(begun.elapsed().as_secs_f64());
    }
    add_figure(
        report,
        &Over { files: files.len(), name: "by jaco validate", floor_name: "as many runs of /bin/true" },
        &ours,
        &floor,
    );
    Ok(())
}

/// What a pass over all files was.
struct Over {
    files: usize,
    name: &'static str,
    floor_name: &'static str,
}

fn add_figure(report: &mut Report, over: &Over, ours: &[f64], floor: &[f64]) {
    let measure = |seconds: &[f64]| {
        let total = median(seconds);
        Measure::of(over.files as f64 / total.max(f64::MIN_POSITIVE))
            .detail(format!("{total:.3} s in all"))
            .numbers(json!({ "files": over.files, "total_seconds": total, "rounds": seconds }))
    };
    say(&format!("  {} files {}: {:.3} s", over.files, over.name, median(ours)));
    report.add(Figure {
        part: 'f',
        name: format!("validate {} files, {}", over.files, over.name),
        unit: "files/s",
        ours: measure(ours),
        floor: Some((over.floor_name.to_owned(), measure(floor))),
        // Rates are the inverse of times.
        ratio: Some(paired_ratio(floor, ours)),
        bar: None,
        note: String::new(),
    });
}
