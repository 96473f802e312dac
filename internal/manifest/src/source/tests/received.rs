//! The daemon's side: a text may come from any client.

use super::*;

fn problems(text: &str) -> Vec<String> {
    let mut node = load("sent", text.as_bytes(), Budget::default()).unwrap();
    let mut diagnostics = crate::Diagnostics::default();
    finish_received(&mut node, &mut diagnostics);
    diagnostics.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_is_interpolated() {
    let text = "services: {a: {image: 'x:$A', command: '$$x ${B'}}";
    assert_eq!(emit(&received(text)), emit(&load("x", text.as_bytes(), Budget::default()).unwrap()));
}

#[test]
fn what_the_client_should_have_resolved() {
    let found = problems("include: [a]\nservices: {a: {extends: b}, b: {image: x}}");
    assert_eq!(
        found,
        [
            "sent:1:1: include: `include` refers to a file and has to be resolved before the text is sent",
            "sent:2:16: services.a.extends: `extends` refers to a file and has to be resolved before the text is sent",
        ]
    );
}

#[test]
fn profiles_tags_and_repeated_entries() {
    let text = "services: {a: {image: a, environment: [A=1, A=2], ports: !reset ['80']}, b: {image: b, profiles: [x]}}";
    let expected = "services: {a: {image: a, environment: [A=2]}}";
    assert_eq!(emit(&received(text)), emit(&load("x", expected.as_bytes(), Budget::default()).unwrap()));
}

#[test]
fn marks_of_another_kind_do_no_harm() {
    for marks in ["x", "[1, [2], {a: b}, /services/a/image]", "{a: b}", ""] {
        received(&format!("x-jaco-interpolated: {marks}\nservices: {{a: {{image: a}}}}"));
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn projects_of_any_text_never_panic(
            compose in "(services|include|volumes): [a-c$:,\\[\\]{}!&*<> .\n-]{0,60}",
            over in "[a-c$:,\\[\\]{}!&*<> .\n-]{0,60}",
            env in any::<String>(),
        ) {
            let _result = Case::new(&[("compose.yml", &compose), ("compose.override.yml", &over), ("vars.env", &env)]).read();
        }

        #[test]
        fn what_is_sent_is_what_was_resolved(value in any::<String>(), word in "[ -~]{0,20}") {
            let value: String = value.replace(['\0', '\'', '\\', '\r'], "");
            let word = word.replace(['\'', '$'], "");
            let case = Case::new(&[
                ("compose.yml", &format!("services: {{s: {{image: \"a$V\", environment: {{A: $V, B: '{word}'}}, env_file: x.env}}}}")),
                ("vars.env", &format!("V='{value}'")),
                ("x.env", "E='$x'"),
            ]);
            let project = case.ok();
            let tree = received(&project.compose_yaml);
            prop_assert_eq!(emit(&project.compose), emit(&tree));
            let service = tree.get("services").unwrap().get("s").unwrap();
            let environment = service.get("environment").unwrap();
            let text = |key: &str| environment.get(key).unwrap().as_scalar().unwrap().text.clone();
            prop_assert_eq!((text("A"), text("B"), text("E")), (value, word, "$x".to_owned()));
        }
    }
}
