//! How one record lies in a segment: a header of 16 bytes, the encoded record, zeros up to a multiple of eight.
//!
//! The header holds a mark, the length, *how far the segment was known to be on disk when the record was written*, and a
//! checksum over these, the segment's number, the offset and the record. The third field is what tells a torn write from damage:
//! a write is acknowledged only after its sync, and whatever is written after the sync says so.

use prost::Message;

use super::record::Record;

/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER: usize = 16;
/// Frames begin at multiples of this.
pub(crate) const FRAME_ALIGN: usize = 8;
const MARK: u32 = u32::from_le_bytes(*b"JREC");

/// A frame that was read and whose checksum is right.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    /// Everything before this offset of the segment was on disk when the frame was written.
    pub durable: u32,
    /// The encoded record.
    pub body: &'a [u8],
    /// Offset of the next frame.
    pub next: usize,
}

/// Appends one frame to `buffer`, whose first byte lies at `base` in the segment.
pub(crate) fn encode_frame(buffer: &mut Vec<u8>, segment: u64, base: u32, durable: u32, record: &Record) {
    let start = buffer.len();
    let offset = base + start as u32;
    buffer.resize(start + FRAME_HEADER, 0);
    // A vector grows as needed, so encoding into it cannot fail.
    let _ = record.encode(buffer);
    let length = (buffer.len() - start - FRAME_HEADER) as u32;
    let crc = checksum(segment, offset, durable, &buffer[start + FRAME_HEADER..]);
    let header = &mut buffer[start..start + FRAME_HEADER];
    header[0..4].copy_from_slice(&MARK.to_le_bytes());
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8..12].copy_from_slice(&durable.to_le_bytes());
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    buffer.resize(buffer.len().next_multiple_of(FRAME_ALIGN), 0);
}

/// Bytes that a record takes in a segment.
pub(crate) fn framed_len(record: &Record) -> u64 {
    (FRAME_HEADER + record.encoded_len()).next_multiple_of(FRAME_ALIGN) as u64
}

/// The frame at `offset` of `content`, whose first byte lies at `base` in the segment; `None` when none with a right checksum
/// begins there.
pub(crate) fn read_frame(content: &[u8], segment: u64, offset: usize, base: u32) -> Option<Frame<'_>> {
    let header = content.get(offset..offset + FRAME_HEADER)?;
    let field = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
    if field(0)? != MARK {
        return None;
    }
    let (length, durable, crc) = (field(4)? as usize, field(8)?, field(12)?);
    let body = content.get(offset + FRAME_HEADER..(offset + FRAME_HEADER).checked_add(length)?)?;
    if crc != checksum(segment, base.checked_add(u32::try_from(offset).ok()?)?, durable, body) {
        return None;
    }
    Some(Frame { durable, body, next: (offset + FRAME_HEADER + length).next_multiple_of(FRAME_ALIGN) })
}

fn checksum(segment: u64, offset: u32, durable: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(&durable.to_le_bytes());
    hasher.update(&(body.len() as u32).to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}
