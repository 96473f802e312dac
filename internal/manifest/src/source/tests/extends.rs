use super::*;

fn one(text: &str) -> Case {
    Case::new(&[("compose.yml", text)])
}

#[test]
fn in_the_same_file() {
    one("services: {a: {image: a, environment: [A=1, B=1]}, b: {extends: a, environment: {B: 2}}}")
        .becomes("services: {a: {image: a, environment: [A=1, B=1]}, b: {image: a, environment: {A: '1', B: 2}}}");
    one("services: {b: {extends: {service: a}, init: true}, a: {image: a}}")
        .becomes("services: {b: {image: a, init: true}, a: {image: a}}");
    one("services: {c: {extends: b}, b: {extends: a, user: u}, a: {image: a}}")
        .becomes("services: {c: {image: a, user: u}, b: {image: a, user: u}, a: {image: a}}");
    one("services: {a: {image: a, ports: ['80']}, b: {extends: a, ports: !reset }}")
        .becomes("services: {a: {image: a, ports: ['80']}, b: {image: a}}");
}

#[test]
fn in_another_file() {
    Case::new(&[
        ("compose.yml", "services: {web: {extends: {file: sub/base.yml, service: app}, environment: {B: $V}}}"),
        (
            "sub/base.yml",
            "services:\n  app:\n    extends: {file: deeper/root.yml, service: root}\n    image: app\n    env_file: app.env\n    \
             volumes: ['./data:/data', 'named:/n', '/abs:/abs', '~/h:/h', {type: bind, source: ../up, target: /up}]\n    \
             build: .\n    environment: {A: $V}\nvolumes: {named: }",
        ),
        ("sub/deeper/root.yml", "services: {root: {user: root, build: {target: t}, volumes: ['./r:/r', '../../../out:/o']}}"),
        ("sub/app.env", "FROM_FILE=1"),
        ("vars.env", "V=v"),
    ])
    .becomes(
        "services:\n  web:\n    user: root\n    build: {target: t, context: ./sub}\n    volumes: ['./sub/deeper/r:/r', '../out:/o', \
         './sub/data:/data', 'named:/n', '/abs:/abs', '~/h:/h', {type: bind, source: ./up, target: /up}]\n    image: app\n    \
         environment: {FROM_FILE: '1', A: v, B: v}",
    );
}

#[test]
fn the_own_file_by_name() {
    one("services: {b: {extends: {file: ./compose.yml, service: a}}, a: {image: a}}")
        .becomes("services: {b: {image: a}, a: {image: a}}");
}

#[test]
fn a_reset_over_a_base_also_holds_over_earlier_files() {
    Case::new(&[
        ("a.yml", "services: {web: {image: a, ports: ['1']}}"),
        ("b.yml", "services: {base: {ports: ['2']}, web: {extends: base, ports: !reset }}"),
    ])
    .compose(&["a.yml", "b.yml"])
    .becomes("services: {web: {image: a}, base: {ports: ['2']}}");
}

#[test]
fn refusals() {
    let circle = "services: {a: {extends: b}, b: {extends: c}, c: {extends: a}}";
    let errors = one(circle).errors();
    assert!(
        errors[0].contains("compose.yml:1:61: services.a.extends")
            || errors[0].contains("extend each other in a circle: a -> b -> c -> a"),
        "{errors:?}"
    );
    one("services: {a: {extends: a}}").fails("circle: a -> a");
    one("services: {a: {extends: nope}}").fails("services.a.extends: there is no service `nope` in compose.yml");
    one("services: {a: {extends: {file: no.yml, service: b}}}")
        .fails("the compose file `no.yml`: there is no such file");
    one("services: {a: {extends: {service: b, flie: x}}, b: {}}")
        .fails("services.a.extends.flie: the key `flie` is not known here");
    one("services: {a: {extends: {file: x.yml}}}").fails("`service` is missing");
    one("services: {a: {extends: [b]}}").fails("must be a service name, or a map");
    one("services: {a: {extends: {service: [b]}}}").fails("services.a.extends.service: must be a string, not a list");
    for remote in ["https://example.com/c.yml", "git@example.com:x/y.git", "oci://example.com/x", "github.com/x/y"] {
        one(&format!("services: {{a: {{extends: {{file: '{remote}', service: b}}}}}}")).fails("vendor the file");
    }
    let two = Case::new(&[
        ("compose.yml", "services: {a: {extends: {file: b.yml, service: b}}}"),
        ("b.yml", "services: {b: {extends: {file: compose.yml, service: a}}}"),
    ]);
    two.fails("circle: a -> b -> a");
}

#[test]
fn a_chain_and_a_multitude_are_bounded() {
    let chain: String = (0..100).map(|i| format!("  s{i}: {{extends: s{}}}\n", i + 1)).collect();
    let errors = one(&format!("services:\n{chain}  s100: {{image: a}}\n")).errors();
    assert!(errors[0].contains("more than 32 services extend each other"), "{}", errors[0]);
    let base: String = (0..2000).map(|i| format!("k{i}: 1, ")).collect();
    let users: String = (0..2000).map(|i| format!("  s{i}: {{extends: base}}\n")).collect();
    let begin = crate::effort::Effort::begin();
    let errors = one(&format!("services:\n  base: {{environment: {{{base}}}}}\n{users}")).errors();
    assert!(errors[0].contains("the project has more than 200000 values"), "{}", errors[0]);
    assert!(begin.spent() < std::time::Duration::from_secs(5), "{:?}", begin.spent());
}
