//! Streaming compression of a batch's records into the forms Java's readers accept.

use std::cell::RefCell;

use flate2::{Compress, FlushCompress, Status};
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

use super::crc::crc32_append;
use super::header::Compression;
use super::inflate::{LZ4_MAGIC, XERIAL_MAGIC, lz4_header_checksum};

/// Bytes of an uncompressed Snappy block, Java's default.
const SNAPPY_BLOCK_BYTES: usize = 32 * 1024;
/// Bytes of an uncompressed LZ4 block: Kafka writes 64 KiB blocks.
const LZ4_BLOCK_BYTES: usize = 64 * 1024;
/// Format version 1, independent blocks, no checksums; blocks of 64 KiB.
const LZ4_DESCRIPTOR: [u8; 2] = [0x60, 0x40];
/// RFC 1952: deflate, no flags, no time, no extra flags, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const GZIP_LEVEL_DEFAULT: u32 = 6;
const ZSTD_LEVEL_DEFAULT: i32 = 3;
/// Output grows by at least this.
const STEP_BYTES: usize = 16 * 1024;
/// A zstd context that grew beyond this (levels from about 9) is not kept for the next batch.
const POOLED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a codec's library refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeflateError(pub(super) &'static str);

thread_local! {
    static ZSTD: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
}

/// Compresses what is pushed; the compressed bytes are appended to `out`.
pub(super) struct Deflater {
    out: Vec<u8>,
    codec: Codec,
}

enum Codec {
    None,
    Gzip { context: Box<Compress>, crc: u32, size: u32 },
    Snappy { encoder: Box<snap::raw::Encoder>, pending: Vec<u8> },
    Lz4 { pending: Vec<u8> },
    Zstd { context: CCtx<'static> },
}

impl Deflater {
    /// Starts after what `out` holds. `level` is the codec's own scale, `None` its default; Snappy
    /// has none, and LZ4 always uses its fast mode. `size` is how many bytes will be pushed, if
    /// known.
    pub(super) fn new(
        compression: Compression,
        level: Option<i32>,
        size: Option<u64>,
        mut out: Vec<u8>,
    ) -> Result<Self, DeflateError> {
        let codec = match compression {
            Compression::None => Codec::None,
            Compression::Gzip => {
                out.extend_from_slice(&GZIP_HEADER);
                let level = level.and_then(|level| u32::try_from(level).ok());
                let level = level.unwrap_or(GZIP_LEVEL_DEFAULT).clamp(0, 9);
                let context = Box::new(Compress::new(flate2::Compression::new(level), false));
                Codec::Gzip { context, crc: 0, size: 0 }
            }
            Compression::Snappy => {
                out.extend_from_slice(&XERIAL_MAGIC);
                // Version and least compatible version.
                out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
                let encoder = Box::new(snap::raw::Encoder::new());
                Codec::Snappy { encoder, pending: Vec::new() }
            }
            Compression::Lz4 => {
                out.extend_from_slice(&LZ4_MAGIC);
                out.extend_from_slice(&LZ4_DESCRIPTOR);
                out.push(lz4_header_checksum(&LZ4_DESCRIPTOR));
                Codec::Lz4 { pending: Vec::new() }
            }
            Compression::Zstd => {
                let level = level.unwrap_or(ZSTD_LEVEL_DEFAULT);
                Codec::Zstd { context: zstd_context(level, size)? }
            }
        };
        Ok(Self { out, codec })
    }

    /// Compresses `bytes`, perhaps later.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), DeflateError> {
        match &mut self.codec {
            Codec::None => self.out.extend_from_slice(bytes),
            Codec::Gzip { context, crc, size } => {
                *crc = crc32_append(*crc, bytes);
                *size = size.wrapping_add(bytes.len() as u32); // Modulo 2^32, as RFC 1952 has it.
                deflate(context, bytes, &mut self.out, FlushCompress::None)?;
            }
            Codec::Snappy { encoder, pending } => {
                let out = &mut self.out;
                in_blocks(pending, bytes, SNAPPY_BLOCK_BYTES, |b| snappy_block(encoder, b, out))?;
            }
            Codec::Lz4 { pending } => {
                let out = &mut self.out;
                in_blocks(pending, bytes, LZ4_BLOCK_BYTES, |block| lz4_block(block, out))?;
            }
            Codec::Zstd { context } => zstd_push(context, bytes, &mut self.out)?,
        }
        Ok(())
    }

    /// Ends the compressed data and returns everything.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, DeflateError> {
        match self.codec {
            Codec::None => {}
            Codec::Gzip { mut context, crc, size } => {
                deflate(&mut context, &[], &mut self.out, FlushCompress::Finish)?;
                self.out.extend_from_slice(&crc.to_le_bytes());
                self.out.extend_from_slice(&size.to_le_bytes());
            }
            Codec::Snappy { mut encoder, pending } => {
                if !pending.is_empty() {
                    snappy_block(&mut encoder, &pending, &mut self.out)?;
                }
            }
            Codec::Lz4 { pending } => {
                if !pending.is_empty() {
                    lz4_block(&pending, &mut self.out)?;
                }
                self.out.extend_from_slice(&[0; 4]);
            }
            Codec::Zstd { mut context } => {
                zstd_finish(&mut context, &mut self.out)?;
                if context.sizeof() <= POOLED_BYTES_MAX {
                    ZSTD.set(Some(context));
                }
            }
        }
        Ok(self.out)
    }
}

fn zstd_error(code: usize) -> DeflateError {
    DeflateError(get_error_name(code))
}

fn zstd_context(level: i32, size: Option<u64>) -> Result<CCtx<'static>, DeflateError> {
    let mut context = match ZSTD.take() {
        Some(mut pooled) => {
            pooled.reset(ResetDirective::SessionAndParameters).map_err(zstd_error)?;
            pooled
        }
        None => CCtx::try_create().ok_or(DeflateError("no memory for zstd"))?,
    };
    context.set_parameter(CParameter::CompressionLevel(level)).map_err(zstd_error)?;
    context.set_pledged_src_size(size).map_err(zstd_error)?;
    Ok(context)
}

fn zstd_push(
    context: &mut CCtx<'static>,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), DeflateError> {
    let mut from = InBuffer::around(bytes);
    while from.pos() < bytes.len() {
        out.reserve(STEP_BYTES);
        let at = out.len();
        context
            .compress_stream(&mut OutBuffer::around_pos(out, at), &mut from)
            .map_err(zstd_error)?;
    }
    Ok(())
}

fn zstd_finish(context: &mut CCtx<'static>, out: &mut Vec<u8>) -> Result<(), DeflateError> {
    loop {
        out.reserve(STEP_BYTES);
        let at = out.len();
        let left = context.end_stream(&mut OutBuffer::around_pos(out, at)).map_err(zstd_error)?;
        if left == 0 {
            return Ok(());
        }
    }
}

fn deflate(
    context: &mut Compress,
    mut bytes: &[u8],
    out: &mut Vec<u8>,
    flush: FlushCompress,
) -> Result<(), DeflateError> {
    loop {
        out.reserve(STEP_BYTES);
        let before = context.total_in();
        let status = context
            .compress_vec(bytes, out, flush)
            .map_err(|_| DeflateError("deflate refused its input"))?;
        bytes = bytes.get((context.total_in() - before) as usize..).unwrap_or_default();
        let ended = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            _ => bytes.is_empty(),
        };
        if ended {
            return Ok(());
        }
    }
}

/// Gives whole blocks of `pending ++ bytes` to `block` and keeps the rest in `pending`.
fn in_blocks(
    pending: &mut Vec<u8>,
    mut bytes: &[u8],
    block_bytes: usize,
    mut block: impl FnMut(&[u8]) -> Result<(), DeflateError>,
) -> Result<(), DeflateError> {
    if !pending.is_empty() {
        let missing = block_bytes - pending.len();
        let (head, tail) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        pending.extend_from_slice(head);
        bytes = tail;
        if pending.len() < block_bytes {
            return Ok(());
        }
        block(pending)?;
        pending.clear();
    }
    let whole = bytes.chunks_exact(block_bytes);
    pending.extend_from_slice(whole.remainder());
    for bytes in whole {
        block(bytes)?;
    }
    Ok(())
}

/// Appends a block of Java's framing: big-endian length, Snappy block.
fn snappy_block(
    encoder: &mut snap::raw::Encoder,
    block: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), DeflateError> {
    let at = out.len();
    let room = 4 + snap::raw::max_compress_len(block.len());
    out.resize(at + room, 0);
    let (len_field, data) = out.get_mut(at..).unwrap_or_default().split_at_mut(4);
    let refused = |_| DeflateError("snappy refused its input");
    let len = encoder.compress(block, data).map_err(refused)?;
    // A block is at most 32 KiB.
    len_field.copy_from_slice(&(len as u32).to_be_bytes());
    out.truncate(at + 4 + len);
    Ok(())
}

/// Appends an LZ4 block: little-endian length (top bit: stored), data.
fn lz4_block(block: &[u8], out: &mut Vec<u8>) -> Result<(), DeflateError> {
    let at = out.len();
    let room = 4 + lz4_flex::block::get_maximum_output_size(block.len());
    out.resize(at + room, 0);
    let (len_field, data) = out.get_mut(at..).unwrap_or_default().split_at_mut(4);
    let refused = |_| DeflateError("LZ4 refused its input");
    let len = lz4_flex::block::compress_into(block, data).map_err(refused)?;
    if len < block.len() {
        // A block is at most 64 KiB.
        len_field.copy_from_slice(&(len as u32).to_le_bytes());
        out.truncate(at + 4 + len);
    } else {
        let stored = block.len() as u32 | 1 << 31;
        len_field.copy_from_slice(&stored.to_le_bytes());
        out.truncate(at + 4);
        out.extend_from_slice(block);
    }
    Ok(())
}
