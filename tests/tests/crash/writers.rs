//! Writers at work while the daemon is killed, again and again.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::{Cli, Daemon, announce};

use crate::book::Book;
use crate::{Lab, Moments};

/// Deployments, each with a writer of its own.
const WRITERS: usize = 3;

pub(crate) fn what_was_acknowledged_survives_kills(lab: &mut Lab) -> anyhow::Result<()> {
    let rounds: u64 = std::env::var("JACO_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    // No engine is needed, as no replica is wanted: nobody listens there.
    let mut daemon = Daemon::start_cluster(std::path::Path::new("/nonexistent/docker.sock"))?;
    let mut books: Vec<Book> =
        (0..WRITERS).map(|number| Book::new(&format!("crash{number}"))).collect::<Result<_, _>>()?;
    let mut moments = Moments::new();
    let begin = Instant::now();
    for round in 1..=rounds {
        let result = one_round(&mut daemon, &mut books, &mut moments);
        if let Err(error) = result {
            lab.evidence = daemon.log_tail(30);
            return Err(error.context(format!("round {round}")));
        }
    }
    let acknowledged: usize = books.iter().map(|book| book.acknowledged).sum();
    ensure!(acknowledged > 0, "nothing was ever acknowledged: the test tested nothing");
    ensure!(!daemon.log().contains("panicked"), "{}", daemon.log_tail(50));
    let took = begin.elapsed().as_secs_f64();
    announce(&format!("{rounds} kills, {acknowledged} acknowledged changes, none lost, in {took:.0} s"));
    Ok(())
}

#[allow(clippy::disallowed_methods)] // The random moment of a kill, no waiting for anything.
fn one_round(daemon: &mut Daemon, books: &mut [Book], moments: &mut Moments) -> anyhow::Result<()> {
    let stop = AtomicBool::new(false);
    let cli = daemon.cli();
    let life = Duration::from_millis(moments.below(250));
    let written = std::thread::scope(|scope| {
        let writers: Vec<_> = books.iter_mut().map(|book| scope.spawn(|| write(&cli, book, &stop))).collect();
        std::thread::sleep(life);
        let killed = daemon.kill();
        stop.store(true, Ordering::Release);
        let mut results = vec![killed];
        for writer in writers {
            results.push(writer.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a writer panicked"))));
        }
        results.into_iter().collect::<anyhow::Result<()>>()
    });
    written?;
    // Now and then it dies again while it starts.
    for _ in 0..moments.below(3) {
        daemon.spawn()?;
        std::thread::sleep(Duration::from_millis(moments.below(120)));
        daemon.kill()?;
    }
    daemon.boot().context("it does not start after a kill")?;
    let routes = cli.json(&["get", "routes"])?;
    for book in books {
        book.check(&cli, &routes)?;
    }
    Ok(())
}

/// Changes one deployment until told to stop; a client that has no answer by then is killed, and its outcome stays open.
fn write(cli: &Cli, book: &mut Book, stop: &AtomicBool) -> anyhow::Result<()> {
    while !stop.load(Ordering::Acquire) {
        let arguments = book.begin()?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut client =
            cli.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("the client")?;
        loop {
            if client.try_wait()?.is_some() {
                break;
            }
            if stop.load(Ordering::Acquire) {
                let _ = client.kill();
                break;
            }
            yield_a_little();
        }
        let output = client.wait_with_output()?;
        if !output.status.success() {
            // Nobody knows what became of it; the check after the restart finds out.
            return Ok(());
        }
        book.acknowledge(&String::from_utf8_lossy(&output.stdout))?;
    }
    Ok(())
}

#[allow(clippy::disallowed_methods)] // Between two looks at a process.
fn yield_a_little() {
    std::thread::sleep(Duration::from_millis(1));
}
