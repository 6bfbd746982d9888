//! Streaming decompression of a batch's records, in chunks, with reused contexts and a bound.
//!
//! The chunk buffer is 64 KiB; LZ4 and Snappy blocks are inflated whole (at most 4 MiB for LZ4; for
//! Snappy no more than its format can expand the block that is there).

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer, ResetDirective, get_error_name};

use super::crc::crc32_append;
use super::header::Compression;

/// Bytes of a chunk of gzip and zstd; what a pooled scratch keeps.
const CHUNK_BYTES: usize = 64 * 1024;
/// A buffer that grew beyond this is not kept for the next batch.
const POOLED_BYTES_MAX: usize = 1024 * 1024;
/// A zstd context beyond this is not kept. Java's producers claim a window of 2 MiB at the default
/// level, whatever the batch's size; of a window only what data filled is resident.
const POOLED_ZSTD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Scratches kept per thread: one in use and one nested is all that ever happens.
const POOLED_MAX: usize = 2;
/// The longest Snappy copy (3 bytes) yields 64: no block expands more than 22-fold.
const SNAPPY_EXPANSION_MAX: usize = 22;
/// An LZ4 length byte yields at most 255.
const LZ4_EXPANSION_MAX: usize = 255;

/// What every `SnappyOutputStream` starts with; version and least compatible version follow.
pub(super) const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version, least compatible version.
const XERIAL_HEADER_LEN: usize = 16;
/// First bytes of an LZ4 frame.
pub(super) const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// Why compressed records cannot be inflated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum InflateError {
    /// Not what the codec's format says.
    Invalid(&'static str),
    /// More bytes than the caller allows.
    TooLarge,
}

/// Inflates a whole value that is compressed as records are. `None`: it has more than `bytes_max`
/// bytes.
///
/// # Errors
/// The bytes are not what the codec's format says; the sentence says what is wrong.
pub fn inflate(
    compression: Compression,
    bytes: &[u8],
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, &'static str> {
    let mut inflater = Inflater::new(compression, bytes, bytes_max as u64);
    let mut all = Vec::new();
    loop {
        match inflater.advance() {
            Ok(()) if inflater.chunk().is_empty() => return Ok(Some(all)),
            Ok(()) => all.extend_from_slice(inflater.chunk()),
            Err(InflateError::TooLarge) => return Ok(None),
            Err(InflateError::Invalid(what)) => return Err(what),
        }
    }
}

/// Contexts and buffers, reused through a pool per thread.
#[derive(Default)]
struct Scratch {
    chunk: Vec<u8>,
    gzip: Option<Decompress>,
    snappy: snap::raw::Decoder,
    zstd: Option<DCtx<'static>>,
}

thread_local! {
    static POOL: RefCell<Vec<Scratch>> = const { RefCell::new(Vec::new()) };
}

/// Inflates one batch's records.
pub(super) struct Inflater<'a> {
    input: &'a [u8],
    state: State,
    inflated: u64,
    inflated_bytes_max: u64,
    chunk_len: usize,
    scratch: Scratch,
}

/// Where in the compressed format the input stands.
enum State {
    None,
    GzipHeader { first: bool },
    GzipBody { crc: u32 },
    SnappyStart,
    SnappyBlocks,
    Lz4Start,
    Lz4Blocks { block_bytes_max: usize, checksums: bool },
    Zstd { frame_open: bool },
    Done,
}

impl std::fmt::Debug for Inflater<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").field("inflated", &self.inflated).finish_non_exhaustive()
    }
}

impl<'a> Inflater<'a> {
    pub(super) fn new(compression: Compression, input: &'a [u8], inflated_bytes_max: u64) -> Self {
        let state = match compression {
            // An empty batch has no compressed block at all.
            _ if input.is_empty() => State::Done,
            Compression::None => State::None,
            Compression::Gzip => State::GzipHeader { first: true },
            Compression::Snappy => State::SnappyStart,
            Compression::Lz4 => State::Lz4Start,
            Compression::Zstd => State::Zstd { frame_open: false },
        };
        let mut scratch = POOL.with_borrow_mut(Vec::pop).unwrap_or_default();
        if let (State::Zstd { .. }, Some(context)) = (&state, &mut scratch.zstd)
            && context.reset(ResetDirective::SessionOnly).is_err()
        {
            scratch.zstd = None;
        }
        Self { input, state, inflated: 0, inflated_bytes_max, chunk_len: 0, scratch }
    }

    /// The chunk that [`Self::advance`] made.
    #[inline]
    pub(super) fn chunk(&self) -> &[u8] {
        self.scratch.chunk.get(..self.chunk_len).unwrap_or_default()
    }

    /// Bytes inflated so far, the present chunk included.
    pub(super) const fn inflated(&self) -> u64 {
        self.inflated
    }

    /// Makes the next chunk; an empty one at the end.
    pub(super) fn advance(&mut self) -> Result<(), InflateError> {
        self.chunk_len = 0;
        while self.chunk_len == 0 && !matches!(self.state, State::Done) {
            self.chunk_len = self.step()?;
        }
        self.inflated += self.chunk_len as u64;
        if self.inflated > self.inflated_bytes_max {
            return Err(InflateError::TooLarge);
        }
        Ok(())
    }

    /// One step of the state machine: the bytes it put into the chunk.
    fn step(&mut self) -> Result<usize, InflateError> {
        match &mut self.state {
            State::Done => Ok(0),
            State::None => {
                let take = self.input.len().min(CHUNK_BYTES);
                let (head, tail) = split(self.input, take)?;
                self.scratch.chunk.clear();
                self.scratch.chunk.extend_from_slice(head);
                self.input = tail;
                self.end_with_input();
                Ok(take)
            }
            State::GzipHeader { first } => {
                let first = *first;
                self.gzip_header(first).map(|()| 0)
            }
            State::GzipBody { .. } => self.gzip_body(),
            State::SnappyStart => self.snappy_start(),
            State::SnappyBlocks => self.snappy_block(),
            State::Lz4Start => self.lz4_start().map(|()| 0),
            State::Lz4Blocks { block_bytes_max, checksums } => {
                let (block_bytes_max, checksums) = (*block_bytes_max, *checksums);
                self.lz4_block(block_bytes_max, checksums)
            }
            State::Zstd { frame_open } => {
                let frame_open = *frame_open;
                self.zstd(frame_open)
            }
        }
    }

    fn end_with_input(&mut self) {
        if self.input.is_empty() {
            self.state = State::Done;
        }
    }

    /// Reads a member's header (RFC 1952); anything else after the first member is ignored, as
    /// Java's reader does.
    fn gzip_header(&mut self, first: bool) -> Result<(), InflateError> {
        match gzip_header_len(self.input) {
            Ok(len) => {
                (_, self.input) = split(self.input, len)?;
                match &mut self.scratch.gzip {
                    Some(context) => context.reset(false),
                    none => *none = Some(Decompress::new(false)),
                }
                self.state = State::GzipBody { crc: 0 };
                Ok(())
            }
            Err(_) if !first => {
                self.state = State::Done;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn gzip_body(&mut self) -> Result<usize, InflateError> {
        let State::GzipBody { crc } = &mut self.state else { return Ok(0) };
        let Some(context) = &mut self.scratch.gzip else { return Ok(0) };
        self.scratch.chunk.resize(CHUNK_BYTES, 0);
        let (before_in, before_out) = (context.total_in(), context.total_out());
        let status = context
            .decompress(self.input, &mut self.scratch.chunk, FlushDecompress::None)
            .map_err(|_| InflateError::Invalid("invalid deflate data"))?;
        // Both are at most the lengths of slices.
        let taken = (context.total_in() - before_in) as usize;
        let made = (context.total_out() - before_out) as usize;
        (_, self.input) = split(self.input, taken)?;
        *crc = crc32_append(*crc, self.scratch.chunk.get(..made).unwrap_or_default());
        if status == Status::StreamEnd {
            let size = context.total_out() as u32; // The trailer has it modulo 2^32.
            let trailer = self.input.split_first_chunk::<8>();
            let (trailer, tail) = trailer.ok_or(InflateError::Invalid("gzip trailer is cut"))?;
            let want = (u64::from(size) << 32) | u64::from(*crc);
            if u64::from_le_bytes(*trailer) != want {
                return Err(InflateError::Invalid("gzip trailer does not match the data"));
            }
            self.input = tail;
            self.state = State::GzipHeader { first: false };
        } else if taken == 0 && made == 0 {
            return Err(InflateError::Invalid("gzip data is cut"));
        }
        Ok(made)
    }

    /// Java's block framing, or one raw Snappy block as librdkafka and old clients send.
    fn snappy_start(&mut self) -> Result<usize, InflateError> {
        if self.input.starts_with(&XERIAL_MAGIC) {
            (_, self.input) = split(self.input, XERIAL_HEADER_LEN)?;
            self.state = State::SnappyBlocks;
            self.end_with_input();
            return Ok(0);
        }
        let block = std::mem::take(&mut self.input);
        self.state = State::Done;
        self.snappy_inflate(block)
    }

    fn snappy_block(&mut self) -> Result<usize, InflateError> {
        if self.input.starts_with(&XERIAL_MAGIC) {
            // Two streams one after the other.
            (_, self.input) = split(self.input, XERIAL_HEADER_LEN)?;
        }
        let (len, tail) = self
            .input
            .split_first_chunk::<4>()
            .ok_or(InflateError::Invalid("snappy block length is cut"))?;
        let len = usize::try_from(i32::from_be_bytes(*len))
            .map_err(|_| InflateError::Invalid("snappy block length is negative"))?;
        let (block, tail) = split(tail, len)?;
        self.input = tail;
        self.end_with_input();
        self.snappy_inflate(block)
    }

    fn snappy_inflate(&mut self, block: &[u8]) -> Result<usize, InflateError> {
        let invalid = |_| InflateError::Invalid("invalid snappy block");
        let claimed = snap::raw::decompress_len(block).map_err(invalid)?;
        if claimed > block.len().saturating_mul(SNAPPY_EXPANSION_MAX) {
            return Err(InflateError::Invalid("snappy block claims more than it can hold"));
        }
        self.check_room(claimed)?;
        self.scratch.chunk.resize(claimed.max(self.scratch.chunk.len()), 0);
        self.scratch.snappy.decompress(block, &mut self.scratch.chunk).map_err(invalid)
    }

    /// The frame header. Linked blocks are refused as Kafka's reader refuses them: a batch with
    /// them could be stored, but no Java consumer could read it.
    fn lz4_start(&mut self) -> Result<(), InflateError> {
        let rest = self.input.strip_prefix(&LZ4_MAGIC);
        let rest = rest.ok_or(InflateError::Invalid("not an LZ4 frame"))?;
        let cut = InflateError::Invalid("LZ4 frame header is cut");
        let [flags, sizes, ..] = *rest else { return Err(cut) };
        if flags & 0b1100_0011 != 0b0100_0000 {
            return Err(InflateError::Invalid("LZ4 frame version, dictionary or reserved bit"));
        }
        if flags & 0b0010_0000 == 0 {
            return Err(InflateError::Invalid("LZ4 frames with linked blocks are not supported"));
        }
        let block_bytes_max = match sizes {
            0x40 => 64 * 1024,
            0x50 => 256 * 1024,
            0x60 => 1024 * 1024,
            0x70 => 4 * 1024 * 1024,
            _ => return Err(InflateError::Invalid("LZ4 frame block size is not defined")),
        };
        let content_size_len = if flags & 0b1000 == 0 { 0 } else { 8 };
        let (descriptor, tail) = split(rest, 2 + content_size_len)?;
        let (&checksum, tail) = tail.split_first().ok_or(cut)?;
        if checksum != lz4_header_checksum(descriptor) {
            return Err(InflateError::Invalid("LZ4 frame header checksum is wrong"));
        }
        self.input = tail;
        self.state = State::Lz4Blocks { block_bytes_max, checksums: flags & 0b1_0000 != 0 };
        Ok(())
    }

    /// One block, or the end mark. What follows the end mark (a checksum of the content, which the
    /// batch's CRC makes superfluous) is not read; Kafka does the same.
    fn lz4_block(
        &mut self,
        block_bytes_max: usize,
        checksums: bool,
    ) -> Result<usize, InflateError> {
        let (word, tail) = self
            .input
            .split_first_chunk::<4>()
            .ok_or(InflateError::Invalid("LZ4 frame has no end mark"))?;
        let word = u32::from_le_bytes(*word);
        if word == 0 {
            self.state = State::Done;
            return Ok(0);
        }
        let (stored_raw, len) = (word >> 31 == 1, (word & 0x7fff_ffff) as usize);
        if len > block_bytes_max {
            return Err(InflateError::Invalid("LZ4 block is larger than its frame allows"));
        }
        let (block, mut tail) = split(tail, len)?;
        if checksums {
            let (sum, after) = split(tail, 4)?;
            if sum != twox_hash::XxHash32::oneshot(0, block).to_le_bytes() {
                return Err(InflateError::Invalid("LZ4 block checksum is wrong"));
            }
            tail = after;
        }
        self.input = tail;
        if stored_raw {
            self.scratch.chunk.clear();
            self.scratch.chunk.extend_from_slice(block);
            return Ok(len);
        }
        let room = block_bytes_max.min(len.saturating_mul(LZ4_EXPANSION_MAX));
        self.scratch.chunk.resize(room.max(self.scratch.chunk.len()), 0);
        let out = self.scratch.chunk.get_mut(..room).unwrap_or_default();
        lz4_flex::block::decompress_into(block, out)
            .map_err(|_| InflateError::Invalid("invalid LZ4 block"))
    }

    fn zstd(&mut self, frame_open: bool) -> Result<usize, InflateError> {
        if self.input.is_empty() && !frame_open {
            self.state = State::Done;
            return Ok(0);
        }
        let context = match &mut self.scratch.zstd {
            Some(context) => context,
            none => {
                let created = DCtx::try_create();
                none.insert(created.ok_or(InflateError::Invalid("no memory for zstd"))?)
            }
        };
        self.scratch.chunk.resize(CHUNK_BYTES, 0);
        let mut from = InBuffer::around(self.input);
        let mut to = OutBuffer::around(self.scratch.chunk.as_mut_slice());
        let hint = context
            .decompress_stream(&mut to, &mut from)
            .map_err(|code| InflateError::Invalid(get_error_name(code)))?;
        let (taken, made) = (from.pos(), to.pos());
        (_, self.input) = split(self.input, taken)?;
        if taken == 0 && made == 0 && hint != 0 {
            return Err(InflateError::Invalid("zstd frame is cut"));
        }
        self.state = State::Zstd { frame_open: hint != 0 };
        Ok(made)
    }

    /// Refuses a block before it is inflated when it alone would pass the bound.
    fn check_room(&self, bytes: usize) -> Result<(), InflateError> {
        if self.inflated.saturating_add(bytes as u64) > self.inflated_bytes_max {
            return Err(InflateError::TooLarge);
        }
        Ok(())
    }
}

impl Drop for Inflater<'_> {
    fn drop(&mut self) {
        let mut scratch = std::mem::take(&mut self.scratch);
        if scratch.chunk.len() > POOLED_BYTES_MAX {
            scratch.chunk = Vec::new();
        }
        scratch.zstd =
            scratch.zstd.take().filter(|context| context.sizeof() <= POOLED_ZSTD_BYTES_MAX);
        // During thread exit the pool may be gone; the scratch is then simply dropped.
        let _ = POOL.try_with(|pool| {
            if let Ok(mut pool) = pool.try_borrow_mut()
                && pool.len() < POOLED_MAX
            {
                pool.push(scratch);
            }
        });
    }
}

/// The checksum byte of an LZ4 frame descriptor.
pub(super) fn lz4_header_checksum(descriptor: &[u8]) -> u8 {
    let [_, checksum, ..] = twox_hash::XxHash32::oneshot(0, descriptor).to_le_bytes();
    checksum
}

fn split(input: &[u8], at: usize) -> Result<(&[u8], &[u8]), InflateError> {
    input.split_at_checked(at).ok_or(InflateError::Invalid("compressed data is cut"))
}

/// Bytes of the gzip member header at the start of `input`.
fn gzip_header_len(input: &[u8]) -> Result<usize, InflateError> {
    const HEADER_CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let cut = InflateError::Invalid("gzip header is cut");
    let (fixed, mut rest) = input.split_first_chunk::<10>().ok_or(cut.clone())?;
    let [0x1f, 0x8b, 8, flags, ..] = *fixed else {
        return Err(InflateError::Invalid("not gzip data"));
    };
    if flags & EXTRA != 0 {
        let (len, tail) = rest.split_first_chunk::<2>().ok_or(cut.clone())?;
        (_, rest) = split(tail, usize::from(u16::from_le_bytes(*len)))?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0).ok_or(cut.clone())?;
            (_, rest) = split(rest, end + 1)?;
        }
    }
    if flags & HEADER_CRC != 0 {
        (_, rest) = split(rest, 2)?;
    }
    Ok(input.len() - rest.len())
}
