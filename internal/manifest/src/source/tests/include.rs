use super::*;

#[test]
fn short_and_long_forms() {
    Case::new(&[
        ("compose.yml", "include: [db/compose.yml]\nservices: {web: {image: a, depends_on: [db]}}"),
        ("db/compose.yml", "services: {db: {image: b, volumes: ['./d:/d', 'v:/v'], env_file: x.env}}\nvolumes: {v: }\nname: other"),
        ("db/x.env", "X=1"),
    ])
    .becomes(
        "services: {web: {image: a, depends_on: [db]}, db: {image: b, volumes: ['./db/d:/d', 'v:/v'], environment: {X: '1'}}}\n\
         volumes: {v: }",
    );
    Case::new(&[
        ("compose.yml", "include: [{path: [db/a.yml, db/b.yml], project_directory: ., env_file: [one.env]}]"),
        ("db/a.yml", "services: {db: {image: 'b:$TAG', volumes: ['./d:/d']}}"),
        ("db/b.yml", "services: {db: {image: 'c:$TAG'}}"),
        ("one.env", "TAG=7"),
    ])
    .becomes("services: {db: {image: 'c:7', volumes: ['./d:/d']}}");
}

#[test]
fn variables_of_the_including_project_win() {
    let files = [
        ("compose.yml", "include: [db/compose.yml]\nservices: {web: {image: '$A/$B'}}"),
        ("db/compose.yml", "services: {db: {image: '$A/$B'}}"),
        ("db/.env", "A=inner\nB=inner"),
        ("vars.env", "A=outer"),
    ];
    Case::new(&files).becomes("services: {web: {image: 'outer/'}, db: {image: 'outer/inner'}}");
}

#[test]
fn nested_includes_and_extends() {
    Case::new(&[
        ("compose.yml", "include: [a/compose.yml]\nservices: {web: {extends: deep, init: true}}"),
        ("a/compose.yml", "include: [b/compose.yml]"),
        ("a/b/compose.yml", "services: {deep: {image: d, volumes: ['./x:/x', '../../../y:/y']}}"),
    ])
    .becomes(
        "services: {web: {image: d, volumes: ['./a/b/x:/x', '../y:/y'], init: true}, \
         deep: {image: d, volumes: ['./a/b/x:/x', '../y:/y']}}",
    );
}

#[test]
fn an_override_file_may_change_what_is_included() {
    Case::new(&[
        ("compose.yml", "include: [b.yml]"),
        ("b.yml", "services: {db: {image: b}}"),
        ("compose.override.yml", "services: {db: {image: c}}"),
    ])
    .becomes("services: {db: {image: c}}");
}

#[test]
fn the_same_twice_is_no_conflict_another_is() {
    let with = |own: &str| {
        Case::new(&[
            ("compose.yml", &format!("include: [b.yml]\nservices: {{db: {{image: {own}}}}}\nvolumes: {{v: }}")),
            ("b.yml", "services: {db: {image: b}}\nvolumes: {v: }"),
        ])
    };
    with("b").becomes("services: {db: {image: b}}\nvolumes: {v: }");
    with("c").fails(
        "include[0]: services `db` is in this project (compose.yml:2) and differently in the included one (b.yml:1)",
    );
}

#[test]
fn refusals() {
    let one = |include: &str| {
        Case::new(&[
            ("compose.yml", &format!("include: {include}\nservices: {{}}")),
            ("a.yml", "include: [b.yml]"),
            ("b.yml", "include: [a.yml]"),
        ])
    };
    one("a.yml").fails("include: must be a list of files, not `a.yml`");
    one("[{paht: a.yml, path: b.env}]").errors();
    one("[{project_directory: x}]").fails("include[0]: `path` is missing");
    one("[{path: {a: b}}]").fails("include[0].path: must be a path, not a map");
    one("[[a]]").fails("include[0]: must be a path, or a map with `path`, not a list");
    one("[no.yml]").fails("include[0]: the compose file `no.yml`: there is no such file");
    one("[a.yml]").fails("files include each other in a circle: compose.yml -> a.yml -> b.yml -> a.yml");
    one("[compose.yml]").fails("circle: compose.yml -> compose.yml");
    one("['https://example.com/x.git']").fails("vendor the file");
    one("[{path: 'oci://example.com/x'}]").fails("vendor the file");
}

#[test]
fn a_fan_of_includes_is_bounded() {
    let mut files = vec![("compose.yml".to_owned(), "include: [l0.yml, l0.yml]".to_owned())];
    for level in 0..15 {
        files.push((format!("l{level}.yml"), format!("include: [l{}.yml, l{0}.yml, l{0}.yml]", level + 1)));
    }
    files.push(("l15.yml".to_owned(), "services: {a: {image: a}}".to_owned()));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let begin = crate::effort::Effort::begin();
    assert!(!Case::new(&files).errors().is_empty());
    assert!(begin.spent() < std::time::Duration::from_secs(10), "{:?}", begin.spent());
}
