use super::*;

#[test]
fn a_program_with_parentheses_in_its_name_is_read() {
    let text = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 987654 1000 10";
    assert_eq!(parse_stat(text), Some(('S', 987_654)));
    assert_eq!(parse_stat("42 (cut off) S 1"), None);
}

#[test]
fn a_record_of_another_start_is_not_the_process() {
    let own = PidRecord::of(std::process::id()).unwrap();
    assert!(own.is_alive());
    let other = PidRecord { started: own.started + 1, ..own };
    assert!(!other.is_alive());
    assert!(!other.signal(Signal::KILL).unwrap(), "or this test would be dead");
    assert!(other.wait(Duration::from_secs(1)).unwrap());
}

#[test]
fn a_child_is_waited_for_until_a_deadline() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let record = PidRecord::of(child.id()).unwrap();
    assert!(wait_child(&mut child, Duration::from_millis(20)).unwrap().is_none());
    record.kill().unwrap();
    assert_eq!(exit_code(wait_child(&mut child, Duration::from_secs(5)).unwrap().unwrap()), 137);
}

#[test]
fn a_command_that_takes_too_long_says_so() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo begun; sleep 60"]);
    let output = run(command, "sh", Duration::from_millis(200)).unwrap();
    assert_eq!((output.status, output.stdout.as_str()), (137, "begun\n"));
    assert!(output.stderr.contains("200ms"), "{}", output.stderr);
    assert!(output.ok().is_err());
}
