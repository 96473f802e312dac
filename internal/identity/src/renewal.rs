//! When a certificate is renewed.

/// The moment from which a certificate is to be renewed: two thirds of its life. Milliseconds since the Unix epoch.
///
/// A certificate whose end is not after its beginning is due at once.
pub fn renew_at(not_before_ms: u64, not_after_ms: u64) -> u64 {
    let life = not_after_ms.saturating_sub(not_before_ms);
    // `life - life / 3` instead of `life * 2 / 3`: it cannot overflow.
    not_before_ms.saturating_add(life - life / 3)
}

#[cfg(test)]
mod tests {
    use super::renew_at;

    #[test]
    fn two_thirds_of_the_life() {
        assert_eq!(renew_at(0, 300), 200);
        assert_eq!(renew_at(1_000, 1_300), 1_200);
        assert_eq!(renew_at(1_000, 1_001), 1_001);
        assert_eq!(renew_at(1_000, 1_000), 1_000);
        assert_eq!(renew_at(1_000, 10), 1_000);
        assert_eq!(renew_at(0, u64::MAX), u64::MAX - u64::MAX / 3);
    }
}
