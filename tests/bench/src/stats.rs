//! Medians, quantiles and paired ratios: pure.

use std::time::Duration;

use serde_json::{Value, json};

/// The value at `share` (0 to 1) of the values in order, by the nearest rank; 0 of nothing.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// The middle value; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = sorted.len() / 2;
    match (sorted.get(upper.wrapping_sub(1)), sorted.get(upper)) {
        (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => f64::midpoint(*below, *above),
        (_, Some(middle)) => *middle,
        (_, None) => 0.0,
    }
}

/// The median of the ratios of values taken in the same round: what disturbs a whole round falls out of it.
pub(crate) fn paired_ratio(ours: &[f64], floor: &[f64]) -> f64 {
    let ratios: Vec<f64> =
        ours.iter().zip(floor).filter(|(_, floor)| **floor > 0.0).map(|(ours, floor)| ours / floor).collect();
    median(&ratios)
}

/// Operations of one round.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    /// Operations per second.
    pub(crate) per_second: f64,
    /// Median latency, microseconds.
    pub(crate) p50: f64,
    /// Latency that one in a hundred exceeds, microseconds.
    pub(crate) p99: f64,
}

impl Load {
    /// Of the latencies of all operations of a round, and the time the round took.
    pub(crate) fn of(latencies: &[Duration], took: Duration) -> Load {
        let micros: Vec<f64> = latencies.iter().map(|latency| latency.as_secs_f64() * 1e6).collect();
        Load {
            per_second: latencies.len() as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE),
            p50: quantile(&micros, 0.5),
            p99: quantile(&micros, 0.99),
        }
    }

    /// The medians over rounds.
    pub(crate) fn over(rounds: &[Load]) -> Load {
        let of = |field: fn(&Load) -> f64| median(&rounds.iter().map(field).collect::<Vec<_>>());
        Load { per_second: of(|round| round.per_second), p50: of(|round| round.p50), p99: of(|round| round.p99) }
    }

    /// For the result file.
    pub(crate) fn json(&self) -> Value {
        json!({ "per_second": self.per_second, "p50_us": self.p50, "p99_us": self.p99 })
    }

    /// The latencies for the table.
    pub(crate) fn latencies(&self) -> String {
        format!("p50 {} p99 {}", micros(self.p50), micros(self.p99))
    }
}

/// Microseconds as a person reads them.
pub(crate) fn micros(value: f64) -> String {
    if value < 1_000.0 { format!("{value:.0} us") } else { format!("{:.1} ms", value / 1_000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles_of_few_values() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile(&[], 0.99), 0.0);
        assert_eq!(quantile(&[5.0], 0.99), 5.0);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.5), 50.0);
        assert_eq!(quantile(&hundred, 0.99), 99.0);
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        // The machine was half as fast in the second round, for both.
        assert_eq!(paired_ratio(&[80.0, 40.0, 82.0], &[100.0, 50.0, 100.0]), 0.8);
        assert_eq!(paired_ratio(&[1.0], &[0.0]), 0.0);
    }
}
