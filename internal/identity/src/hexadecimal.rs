//! The hexadecimal text form of keys, hashes and fingerprints.

use zeroize::Zeroizing;

/// A text that is not the hexadecimal form of what was asked for. It never repeats the text, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHex {
    /// The wrong number of characters.
    #[error("it has {found} characters, and {expected} hexadecimal digits are expected")]
    Length {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A character that is no hexadecimal digit.
    #[error("character {position} is not a hexadecimal digit")]
    Digit {
        /// Which one, counted from 1.
        position: usize,
    },
}

/// Exactly `N` bytes, in either case. The bytes are wiped when dropped, since some of them are secrets.
pub(crate) fn parse<const N: usize>(text: &str) -> Result<Zeroizing<[u8; N]>, InvalidHex> {
    if let Some(position) = text.chars().position(|c| !c.is_ascii_hexdigit()) {
        return Err(InvalidHex::Digit { position: position + 1 });
    }
    if text.len() != N * 2 {
        return Err(InvalidHex::Length { expected: N * 2, found: text.len() });
    }
    let mut bytes = Zeroizing::new([0; N]);
    // Cannot fail: the digits and their number were just checked. The error is mapped all the same.
    hex::decode_to_slice(text, bytes.as_mut_slice()).map_err(|_| InvalidHex::Digit { position: 1 })?;
    Ok(bytes)
}
