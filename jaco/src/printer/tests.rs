use std::collections::BTreeMap;

use super::*;

#[derive(Serialize)]
struct Sample {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<u32>,
    list: Vec<u32>,
    map: BTreeMap<&'static str, &'static str>,
}

impl View for Sample {
    fn table(&self) -> String {
        format!("NAME\n{}\n", self.name)
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.name)
    }
}

fn sample(name: &'static str) -> Sample {
    Sample { name, missing: None, list: Vec::new(), map: BTreeMap::from([("b", "off"), ("a", "1")]) }
}

fn printed(format: Format, quiet: bool, size: Option<Size>, act: impl Fn(&mut Printer<&mut Vec<u8>>)) -> String {
    let mut out = Vec::new();
    act(&mut Printer::new(&mut out, format, quiet, size));
    String::from_utf8(out).unwrap()
}

#[test]
fn json_omits_the_unset_keeps_empty_lists_and_sorts_maps() {
    let text = printed(Format::Json, false, None, |p| p.show(&sample("x")).unwrap());
    assert_eq!(
        text,
        "{\n  \"name\": \"x\",\n  \"list\": [],\n  \"map\": {\n    \"a\": \"1\",\n    \"b\": \"off\"\n  }\n}\n"
    );
}

#[test]
fn yaml_reads_back_as_the_same_value() {
    let text = printed(Format::Yaml, false, None, |p| p.show(&sample("x")).unwrap());
    let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(value, serde_json::to_value(sample("x")).unwrap(), "{text}");
}

#[test]
fn quiet_is_for_people_only() {
    assert_eq!(printed(Format::Table, true, None, |p| p.show(&sample("x")).unwrap()), "x\n");
    assert!(printed(Format::Json, true, None, |p| p.show(&sample("x")).unwrap()).starts_with('{'));
}

#[test]
fn a_pipe_is_never_cut_and_a_terminal_is() {
    let long = sample("a-very-long-name-that-fits-no-terminal");
    assert!(printed(Format::Table, false, None, |p| p.show(&long).unwrap()).contains(long.name));
    let size = Some(Size { columns: 10, rows: 5 });
    assert_eq!(printed(Format::Table, false, size, |p| p.show(&long).unwrap()), "NAME\na-very-lo…\n");
}

#[test]
fn frames_in_a_pipe_are_apart_and_json_frames_are_lines() {
    let two = |p: &mut Printer<&mut Vec<u8>>| {
        p.frame(&sample("a"), None).unwrap();
        p.frame(&sample("b"), None).unwrap();
    };
    assert_eq!(printed(Format::Table, false, None, two), "NAME\na\n---\nNAME\nb\n");
    assert_eq!(printed(Format::Yaml, false, None, two).matches("---\n").count(), 1);
    let json = printed(Format::Json, false, None, two);
    assert_eq!(json.lines().count(), 2);
    for line in json.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn frames_on_a_terminal_replace_each_other() {
    let size = Some(Size { columns: 80, rows: 24 });
    let text = printed(Format::Table, false, size, |p| {
        p.frame(&sample("a"), size).unwrap();
        p.frame(&sample("b"), size).unwrap();
    });
    assert_eq!(text, "NAME\na\n\x1b[2A\x1b[JNAME\nb\n");
}

#[test]
fn a_frame_never_scrolls_the_terminal() {
    let size = Some(Size { columns: 80, rows: 2 });
    let text = printed(Format::Table, false, size, |p| p.frame(&sample("a"), size).unwrap());
    assert_eq!(text, "… 2 more lines\n");
}

#[test]
fn items_are_lines() {
    let two = |p: &mut Printer<&mut Vec<u8>>| {
        p.item(&sample("a")).unwrap();
        p.item(&sample("b")).unwrap();
    };
    assert_eq!(printed(Format::Json, false, None, two).lines().count(), 2);
    assert_eq!(printed(Format::Yaml, false, None, two).matches("---\n").count(), 1);
}
