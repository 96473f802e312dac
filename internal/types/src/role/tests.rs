use super::Role;

#[test]
fn a_higher_role_may_do_what_a_lower_one_may() {
    for (rank, role) in Role::ALL.iter().enumerate() {
        for (needed_rank, needed) in Role::ALL.iter().enumerate() {
            assert_eq!(role.allows(*needed), rank >= needed_rank, "{role} for {needed}");
        }
    }
}

#[test]
fn the_text_form_is_the_stored_form() {
    for role in Role::ALL {
        assert_eq!(Role::parse(role.as_str()), Some(*role));
        assert_eq!(serde_json::to_string(role).unwrap(), format!("\"{role}\""));
    }
    for wrong in ["", "Admin", "root", "admin "] {
        assert_eq!(Role::parse(wrong), None);
        assert!(wrong.parse::<Role>().unwrap_err().to_string().contains("viewer, deployer or admin"));
    }
}
