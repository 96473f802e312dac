//! A container's output as lines: stamped, told apart by stream, whole.
//!
//! The engine splits lines beyond 16 KiB into several messages, each with a time of its own and only the last one with a newline.
//! Behind a terminal the messages run together, so there the times inside a long line are found by their place.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use crate::engine::{EngineError, OutputChunk, OutputStream};

/// Bytes after which the engine's log drivers split a line.
const ENGINE_SPLIT: usize = 16 * 1024;
/// Longest line given out in one piece, bytes; what goes beyond comes as further lines.
const MAX_LINE: usize = 1024 * 1024;

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Which output.
    pub stream: OutputStream,
    /// The engine's time of it, RFC 3339 with nanoseconds; empty when the engine gave none.
    pub ts: String,
    /// The text without its newline; bytes that are no UTF-8 are replaced.
    pub line: String,
}

/// Turns the engine's chunks into lines. The stream ends after the first error, having given out what was whole before it.
pub(crate) fn lines(
    chunks: BoxStream<'static, Result<OutputChunk, EngineError>>,
) -> BoxStream<'static, Result<LogLine, EngineError>> {
    struct Reader {
        chunks: BoxStream<'static, Result<OutputChunk, EngineError>>,
        assembler: Assembler,
        ready: VecDeque<LogLine>,
        failure: Option<EngineError>,
        ended: bool,
    }
    let reader =
        Reader { chunks, assembler: Assembler::default(), ready: VecDeque::new(), failure: None, ended: false };
    stream::unfold(reader, |mut reader| async move {
        loop {
            if let Some(line) = reader.ready.pop_front() {
                return Some((Ok(line), reader));
            }
            if reader.ended {
                return reader.failure.take().map(|error| (Err(error), reader));
            }
            match reader.chunks.next().await {
                Some(Ok(chunk)) => reader.assembler.push(&chunk, &mut reader.ready),
                Some(Err(error)) => {
                    reader.failure = Some(error);
                    reader.ended = true;
                }
                None => reader.ended = true,
            }
            if reader.ended {
                reader.assembler.flush(&mut reader.ready);
            }
        }
    })
    .boxed()
}

#[derive(Default)]
struct Partial {
    ts: String,
    text: Vec<u8>,
}

/// Puts pieces of lines together, per stream.
#[derive(Default)]
struct Assembler {
    partial: BTreeMap<OutputStream, Partial>,
}

impl Assembler {
    fn push(&mut self, chunk: &OutputChunk, ready: &mut VecDeque<LogLine>) {
        let partial = self.partial.entry(chunk.stream).or_default();
        let (ts, mut text) = stamp(&chunk.bytes);
        if partial.text.is_empty() {
            partial.ts = ts.to_owned();
        }
        if chunk.terminal {
            // Whole lines, with a stamp before each further 16 KiB of a long one.
            while text.len() > ENGINE_SPLIT {
                let (head, tail) = text.split_at(ENGINE_SPLIT);
                let (inner, rest) = stamp(tail);
                partial.text.extend_from_slice(head);
                text = if inner.is_empty() { tail } else { rest };
            }
        }
        partial.text.extend_from_slice(text);
        let whole = partial.text.last() == Some(&b'\n');
        if whole || partial.text.len() >= MAX_LINE {
            ready.push_back(finish(chunk.stream, std::mem::take(partial)));
        }
    }

    fn flush(&mut self, ready: &mut VecDeque<LogLine>) {
        for (stream, partial) in std::mem::take(&mut self.partial) {
            if !partial.text.is_empty() {
                ready.push_back(finish(stream, partial));
            }
        }
    }
}

fn finish(stream: OutputStream, partial: Partial) -> LogLine {
    let text = partial.text.strip_suffix(b"\n").unwrap_or(&partial.text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    LogLine { stream, ts: partial.ts, line: String::from_utf8_lossy(text).into_owned() }
}

/// Splits `2026-01-02T03:04:05.000000006Z text` into time and text; text without a time is all text.
fn stamp(bytes: &[u8]) -> (&str, &[u8]) {
    let head = bytes.get(..40.min(bytes.len())).unwrap_or_default();
    let Some(space) = head.iter().position(|&byte| byte == b' ') else { return ("", bytes) };
    let (first, rest) = bytes.split_at(space);
    match std::str::from_utf8(first) {
        Ok(text) if text.len() >= 20 && humantime::parse_rfc3339(text).is_ok() => {
            (text, rest.get(1..).unwrap_or_default())
        }
        Ok(_) | Err(_) => ("", bytes),
    }
}
