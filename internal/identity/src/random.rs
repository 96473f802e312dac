//! Random bytes from the kernel.

use zeroize::Zeroizing;

/// The kernel gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system gave no random bytes: {reason}")]
pub struct RandomError {
    reason: String,
}

/// `N` random bytes, wiped when dropped.
pub(crate) fn bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, RandomError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| RandomError { reason: error.to_string() })?;
    Ok(bytes)
}
