use super::OperatorName;

#[test]
fn operators_have_plain_names_that_the_system_does_not_use() {
    for good in ["bootstrap", "ci", "jane.doe@example.org", "a", "0_x-y", "Local", &"a".repeat(63)] {
        assert!(OperatorName::new(good).is_ok() && !OperatorName::is_reserved(good), "{good}");
    }
    for reserved in ["local", "system", "scheduler", "rollout", "runtime", "ingress", "discovery", "node:a", ":"] {
        assert!(OperatorName::new(reserved).is_err() && OperatorName::is_reserved(reserved), "{reserved}");
    }
    for wrong in ["", "@a", "-a", "a b", "a/b", "a?b", "é", &"a".repeat(64)] {
        assert!(OperatorName::new(wrong).is_err() && !OperatorName::is_reserved(wrong), "{wrong}");
    }
}
