use super::*;

fn charge() -> Charge {
    let held = Held { id: "a".repeat(64), grace: Duration::from_secs(10) };
    Charge { lease_until: Duration::from_millis(12_345), stop_within: Duration::from_secs(10), containers: vec![held] }
}

#[test]
fn a_charge_comes_back_and_its_format_is_fixed() {
    let dir = tempfile::tempdir().unwrap();
    let charges = ChargeDir::new(dir.path().join("guard"));
    assert_eq!(charges.read().unwrap(), None);
    charges.write(&charge()).unwrap();
    assert_eq!(charges.read().unwrap(), Some(charge()));
    let text = fs::read_to_string(charges.path().join(CHARGE)).unwrap();
    let id = "a".repeat(64);
    let body = format!(
        r#"{{"lease_until":{{"secs":12,"nanos":345000000}},"stop_within":{{"secs":10,"nanos":0}},"containers":[{{"id":"{id}","grace":{{"secs":10,"nanos":0}}}}]}}"#
    );
    assert_eq!(text, format!("jaco-guard 1 {}\n{body}", boot_id().unwrap()));
}

#[test]
fn what_another_boot_or_nobody_wrote_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let charges = ChargeDir::new(dir.path());
    charges.write(&charge()).unwrap();
    let file = dir.path().join(CHARGE);
    let text = fs::read_to_string(&file).unwrap().replace(&boot_id().unwrap(), "another-boot");
    for text in [text.as_str(), "", "jaco-guard 1", "\0\0\0\n{}"] {
        fs::write(&file, text).unwrap();
        assert_eq!(charges.read().unwrap(), None, "{text:?}");
    }
    fs::write(&file, format!("{MAGIC} {}\n{{torn", boot_id().unwrap())).unwrap();
    assert_eq!(charges.read().unwrap(), None);
}

#[test]
fn the_lock_shows_whether_a_guard_is_at_work() {
    let dir = tempfile::tempdir().unwrap();
    let charges = ChargeDir::new(dir.path());
    assert!(!charges.is_guarded().unwrap());
    let lock = charges.lock().unwrap();
    assert!(charges.is_guarded().unwrap());
    drop(lock);
    assert!(!charges.is_guarded().unwrap());
}
