//! Runs the seeds of the fuzz targets, and mutations of them, through the same entries on a stable compiler.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the whole file is a test, its helpers included")]

#[path = "../fuzz/entries.rs"]
mod entries;

use std::path::Path;
use std::time::{Duration, Instant};

/// Seeds of a target, in order of their names.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    seeds.sort();
    assert!(seeds.len() >= 5, "{target} has too few seeds at {}", directory.display());
    seeds
}

/// A small generator with a fixed start, so that a failure can be repeated (xorshift64, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }
}

/// Cuts, doubles, replaces and mixes pieces of two seeds.
fn mutate(random: &mut Random, a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut data = a.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(data.len() + 1);
        let end = at + random.below(data.len() - at + 1).min(40);
        let from = random.below(b.len() + 1);
        let piece = &b[from..from + random.below(b.len() - from + 1).min(40)];
        let special = b"$${}[]:-?+\n \t\"'\\#&*!|>=,\x00\xff";
        match random.below(4) {
            0 => drop(data.drain(at..end)),
            1 => drop(data.splice(at..end, piece.iter().copied())),
            2 => drop(data.splice(at..at, piece.iter().copied())),
            _ => data.insert(at, special[random.below(special.len())]),
        }
    }
    data
}

fn replay(target: &str, entry: fn(&[u8])) {
    let seeds = seeds(target);
    for (name, seed) in &seeds {
        let begin = Instant::now();
        entry(seed);
        assert!(begin.elapsed() < Duration::from_secs(5), "{target}/{name} took {:?}", begin.elapsed());
    }
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..2000 {
        let (a, b) = (&seeds[random.below(seeds.len())].1, &seeds[random.below(seeds.len())].1);
        let data = mutate(&mut random, a, b);
        let result = std::panic::catch_unwind(|| entry(&data));
        assert!(result.is_ok(), "{target}: this input failed:\n{:?}", String::from_utf8_lossy(&data));
    }
}

#[test]
fn yaml() {
    replay("yaml", entries::yaml);
}

#[test]
fn interpolate() {
    replay("interpolate", entries::interpolate);
}

#[test]
fn envfile() {
    replay("envfile", entries::envfile);
}

#[test]
fn project() {
    replay("project", entries::project);
}

#[test]
fn received() {
    replay("received", entries::received);
}
