//! The operating system's random numbers, for this process: the same row on each thread for the same seed.
//!
//! Tokio's `select!` and the standard library's hash maps draw from them, below every seam of ours. With this the order in which they
//! choose is the seed's as well.

#![allow(unsafe_code)] // The one symbol below has to have the C library's name and signature.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// From now on this thread's row is that of the seed. To be called on a fresh thread: what was drawn before has been kept by whoever drew.
pub(crate) fn seed(seed: u64) {
    STATE.set(seed);
}

fn next() -> u64 {
    // SplitMix64 (Steele, Lea, Flood 2014).
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Takes the place of the C library's function of this name.
///
/// # Safety
/// As there: `buffer` is writable for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    for offset in 0..length {
        // SAFETY: within the caller's buffer.
        unsafe { buffer.add(offset).write(next().to_le_bytes()[0]) };
    }
    length as isize
}
