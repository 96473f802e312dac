//! Stands in for the crate of this name below openraft, whose statistics are its only user.
//!
//! The original keeps tables for sixteen resolutions ready, 25 MiB that are written at the first use and never again, and openraft
//! uses the third. This one has the same counters at that resolution and no tables. Remove it when the original makes its tables
//! on demand.
//!
//! Values below 8 have a bucket each; above, every power of two is cut in four.
#![forbid(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;

/// Buckets for all of `u64`: 4 below 4, then 4 for each further bit.
const BUCKETS: usize = 4 + 62 * 4;

/// Counts values by size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    _metadata: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// An empty one.
    pub fn new() -> Self {
        Histogram { counts: Box::new([0; BUCKETS]), total: 0, _metadata: PhantomData }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `count` times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        if let Some(bucket) = self.counts.get_mut(bucket_of(value)) {
            *bucket = bucket.saturating_add(count);
            self.total = self.total.saturating_add(count);
        }
    }

    /// Values counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The least value of the bucket that holds the value at this share (0 to 1) of all in order; 0 of none.
    pub fn percentile(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0_u64;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return least_of(bucket);
            }
        }
        0
    }

    /// The percentiles that are shown.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total,
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.10),
            p50: self.percentile(0.50),
            p90: self.percentile(0.90),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }
}

fn bucket_of(value: u64) -> usize {
    if value < 4 {
        return value as usize;
    }
    let shift = 61 - value.leading_zeros();
    4 + shift as usize * 4 + ((value >> shift) & 3) as usize
}

fn least_of(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64;
    }
    (4 + (bucket as u64 - 4) % 4) << ((bucket - 4) / 4)
}

/// Percentiles of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// Values counted.
    pub samples: u64,
    /// 0.1 % are below.
    pub p0_1: u64,
    /// 1 %.
    pub p1: u64,
    /// 5 %.
    pub p5: u64,
    /// 10 %.
    pub p10: u64,
    /// Half.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples, p50 {}, p99 {}", self.samples, self.p50, self.p99)
    }
}

/// Histograms under their names, shown as one line of percentiles each.
#[derive(Debug, Clone)]
pub struct AsciiChart<T = ()> {
    series: Vec<(String, Histogram<T>)>,
}

impl<T> Default for AsciiChart<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> AsciiChart<T> {
    /// None yet.
    pub fn new() -> Self {
        AsciiChart { series: Vec::new() }
    }

    /// With one more.
    #[allow(clippy::should_implement_trait)] // The name its user calls it by.
    pub fn add(mut self, name: &str, histogram: Histogram<T>) -> Self {
        self.series.push((name.to_owned(), histogram));
        self
    }

    /// As text.
    pub fn compact(&self) -> &Self {
        self
    }

    /// As text.
    pub fn detailed(&self) -> &Self {
        self
    }
}

impl<T> fmt::Display for AsciiChart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.series.iter().try_for_each(|(name, histogram)| writeln!(f, "{name}: {}", histogram.percentile_stats()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_bucket_that_begins_at_or_before_it() {
        for bits in 0..64 {
            for value in [1_u64 << bits, (1 << bits) + (1 << bits) / 3, u64::MAX >> bits] {
                let bucket = bucket_of(value);
                assert!(least_of(bucket) <= value, "{value}");
                assert!(bucket + 1 == BUCKETS || least_of(bucket + 1) > value, "{value}");
            }
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p99, 0);
        (0..99).for_each(|_| histogram.record(5));
        histogram.record_n(1000, 1);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p50, stats.p99, stats.p99_9), (100, 5, 5, 896));
    }
}
