//! When, where and under what load a run was made.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

fn text_of(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The beginning of a run.
pub(crate) fn begin(quick: bool) -> Map<String, Value> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let cpu = text_of("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    Map::from_iter([
        ("began_at_unix".to_owned(), json!(since.as_secs())),
        ("quick".to_owned(), json!(quick)),
        ("cores".to_owned(), json!(std::thread::available_parallelism().map_or(0, usize::from))),
        ("cpu".to_owned(), json!(model.trim_start_matches([' ', '\t', ':']))),
        ("kernel".to_owned(), json!(text_of("/proc/sys/kernel/osrelease"))),
        ("load_before".to_owned(), json!(text_of("/proc/loadavg"))),
    ])
}

/// Its end.
pub(crate) fn end(mut about: Map<String, Value>) -> Map<String, Value> {
    about.insert("load_after".to_owned(), json!(text_of("/proc/loadavg")));
    about
}
