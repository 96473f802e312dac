use jaco_types::{NodeId, OperatorName, Role};
use proptest::prelude::*;

use super::Subject;

/// These texts are in certificates that are out there.
#[test]
fn golden_names() {
    let cluster_id = || "5b3c1e9e-6a53".to_owned();
    let node = Subject::Node { cluster_id: cluster_id(), node_id: NodeId(0xab), incarnation: 7 };
    let identity = OperatorName::new("ci@example.org").unwrap();
    let operator = Subject::Operator { cluster_id: cluster_id(), identity, role: Role::Deployer };
    for (text, subject) in [
        ("jaco://5b3c1e9e-6a53/authority", Subject::Authority { cluster_id: cluster_id() }),
        ("jaco://5b3c1e9e-6a53/node/00000000000000ab?incarnation=0000000000000007", node),
        ("jaco://5b3c1e9e-6a53/operator/ci@example.org?role=deployer", operator),
    ] {
        assert_eq!(subject.to_string(), text);
        assert_eq!(text.parse(), Ok(subject));
    }
}

#[test]
fn another_spelling_is_another_name() {
    for wrong in [
        "",
        "jaco://",
        "jaco:///authority",
        "jaco://c/authority/",
        "jaco://c/authority?x=1",
        "spiffe://c/authority",
        "JACO://c/authority",
        "jaco://c/node/00000000000000AB?incarnation=0000000000000007",
        "jaco://c/node/00000000000000ab?incarnation=7",
        "jaco://c/node/+0000000000000ab?incarnation=0000000000000007",
        "jaco://c/node/ab?incarnation=0000000000000007",
        "jaco://c/node/00000000000000ab",
        "jaco://c/operator/local?role=admin",
        "jaco://c/operator/a:b?role=admin",
        "jaco://c/operator/a/b?role=admin",
        "jaco://c/operator/a?role=root",
        "jaco://c/operator/a?role=admin&role=viewer",
        "jaco://c_d/authority",
    ] {
        assert!(wrong.parse::<Subject>().is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_text_is_refused_or_comes_back(text in "(jaco://)?[a-z0-9-]{0,5}(/|/node/|/operator/|/authority)[ -~]{0,40}") {
        if let Ok(subject) = text.parse::<Subject>() {
            prop_assert_eq!(subject.to_string(), text);
        }
    }
}
