use super::*;

#[derive(Debug)]
struct Durations(Stats);

impl Collector for Durations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        durations(&mut encoder, &self.0)
    }
}

#[test]
fn the_last_bucket_of_durations_has_no_bound() {
    let mut stats = Stats { duration_micros: 12_500_000, ..Stats::default() };
    stats.durations[0] = 2;
    stats.durations[DURATION_BUCKETS_MICROS.len()] = 1;
    let mut registry = Registry::with_prefix("jaco");
    registry.register_collector(Box::new(Durations(stats)));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("jaco_ingress_duration_seconds")).collect();
    assert_eq!(lines.len(), 2 + DURATION_BUCKETS_MICROS.len() + 1, "{text}");
    assert!(lines.contains(&"jaco_ingress_duration_seconds_sum 12.5"), "{text}");
    assert!(lines.contains(&"jaco_ingress_duration_seconds_count 3"), "{text}");
    assert!(lines.contains(&r#"jaco_ingress_duration_seconds_bucket{le="0.0005"} 2"#), "{text}");
    assert_eq!(lines.last(), Some(&r#"jaco_ingress_duration_seconds_bucket{le="+Inf"} 3"#));
}
