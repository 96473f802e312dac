use super::*;

fn service(service: &str) -> Case {
    Case::new(&[
        ("compose.yml", &format!("services: {{s: {service}}}")),
        ("a.env", "A=1\nB=1\nREF=${V}-${A}\nBARE\n"),
        ("b.env", "B='2 # x'\n"),
        ("raw.env", "R=\"$V\" # kept"),
        ("l.labels", "x=1\ny"),
        ("vars.env", "V=v\nFROM=file\n"),
    ])
}

fn becomes(given: &str, expected: &str) {
    service(given).becomes(&format!("services: {{s: {expected}}}"));
}

#[test]
fn folding() {
    becomes("{env_file: a.env}", "{environment: {A: '1', B: '1', REF: v-1, BARE: }}");
    becomes("{env_file: [a.env, b.env]}", "{environment: {A: '1', B: '2 # x', REF: v-1, BARE: }}");
    becomes("{env_file: [b.env, a.env]}", "{environment: {B: '1', A: '1', REF: v-1, BARE: }}");
    becomes("{env_file: ['./b.env'], environment: {B: own, C: true}}", "{environment: {B: own, C: true}}");
    becomes("{env_file: b.env, environment: [B=own, C]}", "{environment: {B: own, C: }}");
    becomes("{env_file: b.env, environment: {B: ''}}", "{environment: {B: ''}}");
    becomes("{env_file: b.env, environment: {B: }}", "{environment: {B: '2 # x'}}");
    becomes("{env_file: b.env, environment: }", "{environment: {B: '2 # x'}}");
    becomes("{env_file: [{path: raw.env, format: raw}]}", "{environment: {R: '\"$V\" # kept'}}");
    becomes("{env_file: [{path: no.env, required: false}, {path: b.env}]}", "{environment: {B: '2 # x'}}");
    becomes("{env_file: [{path: b.env, required: 'true'}]}", "{environment: {B: '2 # x'}}");
    becomes("{env_file: []}", "{}");
    becomes("{env_file: }", "{}");
    becomes("{label_file: l.labels, labels: [x=2]}", "{labels: {x: '2', y: ''}}");
}

#[test]
fn refusals_name_file_and_place() {
    let table = [
        (
            "{env_file: no.env}",
            "compose.yml:1:26: services.s.env_file: the file of variables `no.env`: there is no such file",
        ),
        ("{env_file: [{path: no.env, required: true}]}", "`no.env`: there is no such file"),
        ("{env_file: [{required: false}]}", "services.s.env_file: the path is empty"),
        ("{env_file: ''}", "the path is empty"),
        ("{env_file: [[a]]}", "must be a path, or a map with `path`, not a list"),
        (
            "{env_file: [{path: b.env, format: yaml}]}",
            "services.s.env_file.format: must be `raw`, or left out, not `yaml`",
        ),
        (
            "{env_file: [{path: b.env, requierd: false}]}",
            "services.s.env_file.requierd: the key `requierd` is not known here",
        ),
        (
            "{env_file: [{path: b.env, required: maybe}]}",
            "services.s.env_file.required: must be true or false, not `maybe`",
        ),
    ];
    for (given, expected) in table {
        service(given).fails(expected);
    }
    Case::new(&[("compose.yml", "services: {s: {env_file: x.env}, t: {env_file: x.env}}"), ("x.env", "A=1\nB\u{1}=2")])
        .fails("x.env:2:1: `B\\u{1}` is not a variable name");
}

#[test]
fn keys_without_value() {
    becomes("{environment: [FROM, A=1]}", "{environment: [FROM=file, A=1]}");
    becomes("{environment: {FROM: , A: 1}}", "{environment: {FROM: file, A: 1}}");
    let project = service("{environment: {NOPE: , NOPE2: null}}").ok();
    let notes = warnings(&project);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains("services.s.environment.NOPE: `NOPE` has no value here"), "{notes:?}");
    // `PATH` is in every process's environment, and never used.
    becomes("{environment: [PATH]}", "{environment: [PATH]}");
    let twice = Case::new(&[("compose.yml", "services: {a: {environment: [X]}, b: {environment: [X]}}")]).ok();
    assert_eq!(warnings(&twice).len(), 1);
}

#[test]
fn values_of_files_are_marked() {
    let project = service("{env_file: b.env, environment: {FROM: , C: c}}").ok();
    let tree = received(&project.compose_yaml);
    let environment = tree.get("services").unwrap().get("s").unwrap().get("environment").unwrap();
    let marked: Vec<bool> =
        environment.entries().iter().map(|entry| entry.value.as_scalar().unwrap().interpolated).collect();
    assert_eq!(marked, [true, true, false]);
}
