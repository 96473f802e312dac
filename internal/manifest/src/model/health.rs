//! `healthcheck`.

use std::time::Duration;

use jaco_types::{HealthTest, Healthcheck};

use crate::reading::report::{Field, Report};
use crate::reading::{keys, read};

/// Reads a health check; `None` leaves the image's own untouched.
pub(crate) fn read(report: &mut Report<'_>, field: &Field<'_>) -> Option<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut disable = false;
    let mut has_test = false;
    for (key, value) in report.keyed(field, &keys::HEALTHCHECK) {
        match key {
            "disable" => disable = read::boolean(report, &value).unwrap_or_default(),
            "test" => {
                has_test = !value.is_off();
                check.test = test(report, &value);
            }
            "interval" => check.interval = time(report, &value),
            "timeout" => check.timeout = time(report, &value),
            "start_period" => check.start_period = time(report, &value),
            "start_interval" => check.start_interval = time(report, &value),
            "retries" => {
                check.retries = read::integer(report, &value, 0, i64::from(u32::MAX)).and_then(|n| n.try_into().ok());
            }
            other => report.invalid(&value, format!("no reader for `{other}`")),
        }
    }
    if disable {
        if has_test && check.test != HealthTest::None {
            report.invalid(field, "has both `disable: true` and a `test`; remove one of them");
        }
        return Some(Healthcheck { test: HealthTest::None, ..Healthcheck::default() });
    }
    (check != Healthcheck::default()).then_some(check)
}

/// A duration the engine accepts: nothing, or at least a millisecond.
fn time(report: &mut Report<'_>, field: &Field<'_>) -> Option<Duration> {
    let time = read::duration(report, field)?;
    if !time.is_zero() && time < Duration::from_millis(1) {
        report.invalid(field, "must be at least 1ms");
        return None;
    }
    Some(time)
}

fn test(report: &mut Report<'_>, field: &Field<'_>) -> HealthTest {
    if let Some(scalar) = field.scalar() {
        return match scalar.text.trim() {
            _ if field.is_null() => HealthTest::Image,
            "" => HealthTest::Image,
            "NONE" => HealthTest::None,
            _ => HealthTest::Shell(scalar.text.clone()),
        };
    }
    let mut words = Vec::new();
    for item in report.items(field) {
        match item.scalar().filter(|_| !item.is_null()) {
            Some(word) => words.push(word.text.clone()),
            None => report.wrong_type(&item, "a text"),
        }
    }
    match words.split_first() {
        None => HealthTest::Image,
        Some((first, _)) if first == "NONE" => HealthTest::None,
        Some((first, rest)) if first == "CMD" && !rest.is_empty() => HealthTest::Command(rest.to_vec()),
        Some((first, [line])) if first == "CMD-SHELL" => HealthTest::Shell(line.clone()),
        // The engine passes what follows the line to the shell as its arguments, and so does this.
        Some((first, rest)) if first == "CMD-SHELL" && !rest.is_empty() => {
            HealthTest::Command(["/bin/sh", "-c"].into_iter().map(str::to_owned).chain(rest.iter().cloned()).collect())
        }
        Some(_) => {
            report.invalid(field, "must begin with CMD, CMD-SHELL or NONE, and name what to run");
            HealthTest::Image
        }
    }
}
