//! An "engine" that answers nonsense.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::ensure;
use jaco_e2e::{Daemon, Project, announce, eventually, web_compose, web_jaco};

use crate::Lab;

const VERSION: &str = r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;

fn reply(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// What is said to a request for this path, and whether the connection is kept open afterwards without another word.
type Manner = fn(path: &str) -> (Vec<u8>, bool);

/// It says its version, and something else to everything else.
fn polite(path: &str, rest: Vec<u8>) -> (Vec<u8>, bool) {
    if path.contains("version") {
        (reply("200 OK", VERSION), false)
    } else if path.contains("_ping") {
        (reply("200 OK", "OK"), false)
    } else {
        (rest, false)
    }
}

const MANNERS: &[(&str, Manner)] = &[
    ("noise", |_| (vec![0x16, 0x03, 0x01, 0xff, 0x00, 0x80, 0x0a, 0x0d], false)),
    ("an error", |_| (reply("500 Internal Server Error", "{\"message\":\"out of luck\"}"), false)),
    ("an error without JSON", |_| (reply("502 Bad Gateway", "<html>no</html>"), false)),
    ("nothing at all", |_| (Vec::new(), false)),
    ("silence", |_| (Vec::new(), true)),
    ("a cut answer", |_| (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"Version\":\"2".to_vec(), false)),
    ("another kind of JSON", |_| (reply("200 OK", "[1, {\"a\": null}]"), false)),
    ("an impossible version", |_| {
        (reply("200 OK", "{\"ApiVersion\":\"999999999999999999999.x\",\"Version\":\"\"}"), false)
    }),
    ("a version, then noise", |path| polite(path, b"\x00\xff\x00\xff".to_vec())),
    ("a version, then errors", |path| polite(path, reply("500 Oops", "{}"))),
    ("a version, then another kind of JSON", |path| polite(path, reply("200 OK", "{\"x\": [[[]]]}"))),
    ("a version, then lists of nonsense", |path| {
        polite(path, reply("200 OK", "[{\"Id\": 7, \"Names\": {}, \"State\": []}]"))
    }),
    ("a version, then lists of nothing", |path| polite(path, reply("200 OK", "[null, {}, {\"Id\":\"\"}]"))),
    ("a version, then not found", |path| polite(path, reply("404 Not Found", "{\"message\":\"page not found\"}"))),
    ("a version, then cut answers", |path| {
        polite(path, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n{".to_vec())
    }),
];

struct FakeEngine {
    silent: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeEngine {
    fn start(path: &Path, manner: Manner) -> anyhow::Result<FakeEngine> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        let count = || Arc::new(AtomicUsize::new(0));
        let (silent, asked, stop) = (count(), count(), Arc::new(AtomicBool::new(false)));
        let shared = (Arc::clone(&silent), Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (silent, asked, stop) = shared;
            let mut open = Vec::new();
            while !stop.load(Ordering::Acquire) {
                let Ok((stream, _)) = listener.accept() else {
                    jaco_e2e::pause();
                    continue;
                };
                open.extend(answer(stream, manner));
                silent.store(open.len(), Ordering::Relaxed);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(FakeEngine { silent, asked, stop, thread: Some(thread) })
    }
}

/// One request, one answer, then the connection is closed, or given back to be kept open.
fn answer(mut stream: UnixStream, manner: Manner) -> Option<UnixStream> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    let mut bytes = [0; 8192];
    let length = stream.read(&mut bytes).ok()?;
    let head = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (said, keep) = manner(path);
    let _ = stream.write_all(&said);
    keep.then_some(stream)
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One daemon for each manner, all at a time: each takes a while, as the daemon waits between its attempts.
pub(crate) fn an_engine_that_answers_nonsense_is_told_and_survived(lab: &mut Lab) -> anyhow::Result<()> {
    let results: Vec<(&str, anyhow::Result<String>)> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            MANNERS.iter().map(|(name, manner)| (*name, scope.spawn(move || one_manner(*manner)))).collect();
        let panicked = |_| Err(anyhow::anyhow!("it panicked"));
        threads.into_iter().map(|(name, thread)| (name, thread.join().unwrap_or_else(panicked))).collect()
    });
    let mut failed = Vec::new();
    for (name, result) in results {
        match result {
            Ok(told) => announce(&format!("  {name}: {told}")),
            Err(error) => {
                failed.push(name);
                lab.evidence += &format!("an engine that says {name}: {error:#}\n");
            }
        }
    }
    ensure!(failed.is_empty(), "engines that say {failed:?}");
    Ok(())
}

fn one_manner(manner: Manner) -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("docker.sock");
    let engine = FakeEngine::start(&socket, manner)?;
    let mut daemon = Daemon::start_cluster(&socket)?;
    survive(&engine, &mut daemon).map_err(|error| error.context(daemon.log_tail(30)))
}

/// Gives what the node's status says of such an engine.
fn survive(engine: &FakeEngine, daemon: &mut Daemon) -> anyhow::Result<String> {
    let cli = daemon.cli();
    let project = Project::new(&web_jaco("nonsense", 2), &web_compose("one"))?;
    cli.run(&["apply", &project.jaco()])?;
    // Each is tried at least a few times, or is being tried (silence).
    eventually(Duration::from_secs(60), "the daemon tries the engine", || {
        let asked = engine.asked.load(Ordering::Relaxed);
        if asked >= 3 || engine.silent.load(Ordering::Relaxed) > 0 {
            Ok(())
        } else {
            Err(format!("asked {asked} times"))
        }
    })?;
    ensure!(daemon.is_running(), "the daemon ended");
    let status = cli.json(&["status", "nonsense"])?;
    ensure!(status["deployments"][0]["status"] == "pending", "{status}");
    let told = eventually(Duration::from_secs(40), "the node tells what is wrong with its engine", || {
        let node = cli.json(&["node", "status"]).map_err(|error| error.to_string())?;
        node["status_details"]["docker"].as_str().map(str::to_owned).ok_or_else(|| node.to_string())
    })?;
    cli.run(&["delete", "nonsense"])?;
    let took = daemon.stop()?;
    ensure!(took < Duration::from_secs(12), "a stop took {took:?}");
    ensure!(!daemon.log().contains("panicked"), "a panic");
    Ok(told)
}
