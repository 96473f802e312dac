use bytes::Bytes;

use super::*;

const T1: &str = "2026-01-02T03:04:05.000000001Z";
const T2: &str = "2026-01-02T03:04:05.000000002Z";

fn chunk(stream: OutputStream, terminal: bool, text: String) -> Result<OutputChunk, EngineError> {
    Ok(OutputChunk { stream, terminal, bytes: Bytes::from(text) })
}

async fn read(chunks: Vec<Result<OutputChunk, EngineError>>) -> Vec<Result<LogLine, EngineError>> {
    lines(stream::iter(chunks).boxed()).collect().await
}

#[tokio::test]
async fn parts_of_a_line_are_joined_per_stream() {
    let lines = read(vec![
        chunk(OutputStream::Stdout, false, format!("{T1} one ")),
        chunk(OutputStream::Stderr, false, format!("{T1} error\n")),
        chunk(OutputStream::Stdout, false, format!("{T2} two\n")),
        chunk(OutputStream::Stdout, false, format!("{T2} no newline")),
    ])
    .await;
    let lines: Vec<_> = lines.into_iter().map(Result::unwrap).collect();
    let texts: Vec<_> = lines.iter().map(|line| (line.stream, line.ts.as_str(), line.line.as_str())).collect();
    assert_eq!(
        texts,
        [
            (OutputStream::Stderr, T1, "error"),
            (OutputStream::Stdout, T1, "one two"),
            (OutputStream::Stdout, T2, "no newline"),
        ]
    );
}

#[tokio::test]
async fn times_inside_a_long_terminal_line_are_taken_out() {
    let (head, tail) = ("a".repeat(ENGINE_SPLIT), "b".repeat(10));
    let lines = read(vec![chunk(OutputStream::Stdout, true, format!("{T1} {head}{T2} {tail}\r\n"))]).await;
    let line = lines.into_iter().next().unwrap().unwrap();
    assert_eq!(line.ts, T1);
    assert_eq!(line.line, format!("{head}{tail}"));
}

#[tokio::test]
async fn an_error_comes_last_and_nothing_is_lost_before_it() {
    let away = EngineError::Unreachable { socket: "s".to_owned(), reason: "gone".to_owned() };
    let lines = read(vec![chunk(OutputStream::Stdout, false, format!("{T1} half")), Err(away.clone())]).await;
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].as_ref().unwrap().line, "half");
    assert_eq!(lines[1], Err(away));
}

#[tokio::test]
async fn text_without_a_time_and_broken_bytes_are_kept() {
    let odd = Ok(OutputChunk { stream: OutputStream::Stdout, terminal: false, bytes: Bytes::from_static(b"\xff x\n") });
    let lines = read(vec![odd]).await;
    let line = lines.into_iter().next().unwrap().unwrap();
    assert_eq!((line.ts.as_str(), line.line.as_str()), ("", "\u{fffd} x"));
}
