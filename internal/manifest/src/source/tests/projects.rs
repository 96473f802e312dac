//! Which files make a project, variables, several files, profiles, and what is sent.

use super::*;

const WEB: &str = "services: {web: {image: a}}";

#[test]
fn the_first_default_name_and_its_override() {
    for name in ["compose.yml", "compose.yaml", "docker-compose.yml", "docker-compose.yaml"] {
        Case::new(&[(name, WEB)]).becomes(WEB);
    }
    for over in
        ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"]
    {
        Case::new(&[("compose.yml", WEB), (over, "services: {web: {init: true}}")])
            .becomes("services: {web: {image: a, init: true}}");
    }
    let case = Case::new(&[("compose.yaml", WEB), ("docker-compose.yml", "services: {other: {image: b}}")]);
    case.becomes(WEB);
    assert!(warnings(&case.ok())[0].contains("`compose.yaml` is used and not docker-compose.yml"));
    Case::new(&[]).fails("no compose file beside `jaco.yaml`: looked for compose.yml, compose.yaml,");
    Case::new(&[("other/compose.yml", WEB)]).fails("pass its path with --compose");
}

#[test]
fn compose_files_beside_a_jaco_file_elsewhere() {
    let mut case = Case::new(&[("app/jaco.yaml", "deployment: d\nenvironment: ../vars/x.env"), ("vars/x.env", "A=1")]);
    case.files.push(("app/compose.yml".to_owned(), "services: {web: {image: 'x:$A'}}".to_owned()));
    case.request.jaco_path = Some("app/jaco.yaml".to_owned());
    case.becomes("services: {web: {image: 'x:1'}}");
    assert!(case.ok().jaco_yaml.starts_with("deployment: d\n"));
}

#[test]
fn named_files_have_no_automatic_override() {
    Case::new(&[("a.yml", WEB), ("compose.override.yml", "services: {web: {init: true}}")])
        .compose(&["a.yml"])
        .becomes(WEB);
    Case::new(&[]).compose(&["a.yml"]).fails("the compose file `a.yml`: there is no such file");
}

#[test]
fn paths_of_later_files_start_where_the_first_one_stands() {
    Case::new(&[
        ("app/a.yml", "services: {web: {image: a, volumes: ['./x:/x']}}"),
        ("over/b.yml", "services: {web: {env_file: b.env, volumes: ['./y:/y']}}"),
        ("app/b.env", "B=1"),
    ])
    .compose(&["app/a.yml", "over/b.yml"])
    .becomes("services: {web: {image: a, volumes: ['./x:/x', './y:/y'], environment: {B: '1'}}}");
}

#[test]
fn untouched_text_is_sent_byte_for_byte() {
    let texts = [
        "# a comment\nservices:\n    web: {image: a, environment: [A=1, A=2], command: 'x'}\n",
        "x-a: &a {image: b}\nservices:\n  web:\n    <<: *a\n",
        "services: {web: {image: a, ports: !reset ['80'], environment: {NOT_SET: }}}",
        "\u{FEFF}services:\r\n  web: {image: a}\r\n",
        "services: {web: {image: a}} # costs 5$\n",
    ];
    for text in texts {
        assert_eq!(Case::new(&[("compose.yml", text)]).ok().compose_yaml, text);
    }
}

#[test]
fn touched_text_is_sent_resolved() {
    let changed = [
        "services: {web: {image: $A}}",
        "services: {web: {image: a$$b}}",
        "services: {web: {image: a, environment: [A]}}",
        "services: {web: {image: a, env_file: vars.env}}",
        "services: {web: {image: a, profiles: []}}",
        "services: {web: {extends: b}, b: {image: a}}",
    ];
    for text in changed {
        let project = Case::new(&[("compose.yml", text), ("vars.env", "A=1")]).ok();
        assert_ne!(project.compose_yaml, text);
        for word in ["env_file", "profiles", "extends", "$A", "$$"] {
            assert!(!project.compose_yaml.contains(word), "{}", project.compose_yaml);
        }
    }
}

#[test]
fn a_dollar_that_is_left_reaches_the_container() {
    let case = Case::new(&[
        ("compose.yml", "services: {web: {image: a, command: 'echo $$HOME $(id) $A'}}"),
        ("vars.env", "A='$B'"),
    ]);
    case.becomes("services: {web: {image: a, command: 'echo $HOME $(id) $B'}}");
}

#[test]
fn variables_come_from_the_environment_file_only() {
    let compose = ("compose.yml", "services: {web: {image: \"${IMAGE:-none}:${PATH:-no path}\"}}");
    Case::new(&[compose]).becomes("services: {web: {image: 'none:no path'}}");
    Case::new(&[compose, ("vars.env", "IMAGE=x")]).becomes("services: {web: {image: 'x:no path'}}");
    let dotenv = Case::new(&[compose, (".env", "IMAGE=y")]);
    dotenv.becomes("services: {web: {image: 'y:no path'}}");
    assert_eq!(warnings(&dotenv.ok()), ["variables come from `.env`; `environment:` in jaco.yaml chooses the file"]);
    // A named file takes the place of `.env`.
    Case::new(&[compose, ("vars.env", ""), (".env", "IMAGE=y")]).becomes("services: {web: {image: 'none:no path'}}");
    let missing = Case::new(&[compose, ("jaco.yaml", "deployment: d\nenvironment: no.env")]);
    missing.fails("jaco.yaml:2:14: environment: the file of variables `no.env`: there is no such file");
    let wrong = Case::new(&[compose, ("jaco.yaml", "deployment: d\nenvironment: [a]")]);
    wrong.fails("jaco.yaml:2:14: environment: must be the path of a file, not a list");
    Case::new(&[compose, ("vars.env", "A=1\nB C\n")]).fails("vars.env:2:1: `B C` is not a variable name");
}

#[test]
fn warnings_of_variables_come_once_for_the_project() {
    let project = Case::new(&[
        ("compose.yml", "services: {web: {image: \"a$X\", command: $X}}"),
        ("compose.override.yml", "services: {web: {hostname: $X, user: $Y}}"),
    ])
    .ok();
    let found = warnings(&project);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("compose.yml:1:25: services.web.image: the variable `X` is not set"), "{found:?}");
    assert!(found[1].starts_with("compose.override.yml:1:38: services.web.user: the variable `Y`"), "{found:?}");
}

#[test]
fn every_problem_is_told() {
    let errors = Case::new(&[(
        "compose.yml",
        "services:\n  a: {image: \"${A:?x}\", env_file: no.env}\n  b: {extends: nope}\n  c: {command: \"${\"}\n",
    )])
    .errors();
    assert_eq!(errors.len(), 4, "{errors:#?}");
}

#[test]
fn several_files_are_merged_in_order() {
    Case::new(&[
        ("a.yml", "services: {web: {image: a, ports: ['80'], environment: {A: 1}}, db: {image: b}}"),
        ("b.yml", "services: {web: {ports: ['81'], environment: [A=2]}, db: !reset }"),
        ("c.yml", "services: {web: {ports: !override ['82']}}\nvolumes: {v: }"),
    ])
    .compose(&["a.yml", "b.yml", "c.yml"])
    .becomes("services: {web: {image: a, ports: ['82'], environment: {A: '2'}}}\nvolumes: {v: }");
}

#[test]
fn documents_that_are_none() {
    Case::new(&[("compose.yml", "")]).becomes("{}");
    Case::new(&[("compose.yml", "- a")]).fails("compose.yml:1:1: must be a map with `services`, not a list");
    Case::new(&[("compose.yml", "a: [")]).fails("compose.yml:");
    Case::new(&[("compose.yml", WEB), ("jaco.yaml", "a: 1\na: 2")])
        .fails("jaco.yaml:2:1: a: the key `a` is already there, at 1:1");
    let mut alone = Case::new(&[("x.yml", WEB)]).compose(&["x.yml"]);
    alone.request.jaco_path = None;
    assert_eq!(alone.ok().compose_yaml, WEB);
}

#[test]
fn profiles_choose_services() {
    let text = "services: {a: {image: a}, b: {image: b, profiles: [x]}, c: {image: c, profiles: [y, z]}, d: {image: d, profiles: []}}";
    let case = || Case::new(&[("compose.yml", text)]);
    case().becomes("services: {a: {image: a}, d: {image: d}}");
    case().profiles(&["x"]).becomes("services: {a: {image: a}, b: {image: b}, d: {image: d}}");
    case().profiles(&["z"]).becomes("services: {a: {image: a}, c: {image: c}, d: {image: d}}");
    case().profiles(&["*"]).becomes("services: {a: {image: a}, b: {image: b}, c: {image: c}, d: {image: d}}");
    // Files of a service that is off are not looked for.
    Case::new(&[("compose.yml", "services: {a: {image: a}, b: {profiles: [x], env_file: no.env}}")])
        .becomes("services: {a: {image: a}}");
    Case::new(&[("compose.yml", "services: {a: {image: a, profiles: x}}")])
        .fails("services.a.profiles: must be a list, not `x`");
}

#[test]
fn what_needs_a_service_that_is_off() {
    let with =
        |a: &str| Case::new(&[("compose.yml", &format!("services: {{a: {a}, b: {{image: b, profiles: [x, y]}}}}"))]);
    let refused = [
        "{depends_on: [b]}",
        "{depends_on: {b: {condition: service_healthy}}}",
        "{network_mode: 'service:b'}",
        "{pid: 'service:b'}",
        "{ipc: 'service:b'}",
        "{links: ['b:alias']}",
        "{volumes_from: ['b:ro']}",
    ];
    for a in refused {
        with(a).fails("needs the service `b`, which is off: it has the profiles x, y; turn one on with --profile");
        with(a).profiles(&["y"]).ok();
    }
    with("{image: a, depends_on: {b: {condition: service_started, required: false}}}")
        .becomes("services: {a: {image: a, depends_on: {}}}");
}

#[test]
fn what_variables_touched_is_marked_also_at_the_receiver() {
    let text = "services: {web: {image: 'a:${TAG:-1}', environment: {A: $SECRET, 'b/~c': \"x${SECRET}\", D: plain}, command: [x, $SECRET]}}";
    let project = Case::new(&[("compose.yml", text), ("vars.env", "SECRET=s3cret")]).ok();
    for tree in [&project.compose, &received(&project.compose_yaml)] {
        let web = tree.get("services").unwrap().get("web").unwrap();
        let marked = |node: &crate::Node| node.as_scalar().unwrap().interpolated;
        let environment = web.get("environment").unwrap();
        assert!(marked(environment.get("A").unwrap()) && marked(environment.get("b/~c").unwrap()));
        assert!(!marked(environment.get("D").unwrap()) && !marked(web.get("image").unwrap()));
        let command = web.get("command").unwrap().as_list().unwrap();
        assert!(!marked(&command[0]) && marked(&command[1]));
        assert!(tree.get("x-jaco-interpolated").is_none());
    }
}

#[test]
fn a_text_that_grows_too_large_is_refused() {
    let value = "x".repeat(1000);
    let services: String = (0..300).map(|i| format!("  s{i}: {{image: $A}}\n")).collect();
    let case = Case::new(&[("compose.yml", &format!("services:\n{services}")), ("vars.env", &format!("A={value}"))]);
    case.fails("the resolved compose text has");
    // What the daemon would refuse is refused before it is sent.
    let routes = format!("deployment: d\nx-notes: {}\n", "x".repeat(crate::MAX_TEXT_BYTES));
    Case::new(&[("jaco.yaml", &routes), ("compose.yml", "services: {a: {image: a}}\n")])
        .fails("at most 262144 are accepted");
}

#[test]
fn the_disk_is_read_and_never_hangs_on_what_is_no_file() {
    let directory = std::env::temp_dir().join(format!("jaco-manifest-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("sub")).unwrap();
    std::fs::write(directory.join("sub/a"), "x").unwrap();
    let disk = Disk::new(&directory);
    assert_eq!(disk.read("sub/a"), Ok(b"x".to_vec()));
    assert_eq!(disk.read("sub/b"), Err(ReadError::NotFound));
    assert_eq!(disk.read("sub/a/b"), Err(ReadError::NotFound));
    assert_eq!(disk.read("sub"), Err(ReadError::NotAFile));
    assert_eq!(disk.read("/dev/zero"), Err(ReadError::NotAFile));
    assert!(disk.exists("sub/a") && !disk.exists("b"));
    assert!(matches!(disk.read("a\0b"), Err(ReadError::Failed(_))));
    std::fs::remove_dir_all(&directory).unwrap();
}
