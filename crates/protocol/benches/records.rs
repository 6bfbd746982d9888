//! What checking a batch costs on the produce path: `cargo bench -p ottla-protocol --bench records`.
//!
//! Prints CPU-seconds per GB of uncompressed records: the CRC alone, the walk alone.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use ottla_protocol::ids::Timestamp;
use ottla_protocol::records::{
    BatchBuilder, BatchOptions, BatchView, Compression, WalkLimits, patch_max_timestamp, records,
    walk,
};

const LIMITS: WalkLimits = WalkLimits { inflated_bytes_max: 1 << 30 };

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("record batch   codec   ratio  CRC s/GB  walk s/GB  decode s/GB  (uncompressed GB)");
    for (record_bytes, batch_bytes) in
        [(1024, 1 << 20), (1024, 16 << 10), (100, 1 << 20), (100, 16 << 10), (10, 16 << 10)]
    {
        for compression in Compression::ALL {
            let batch = batch(record_bytes, batch_bytes, compression)?;
            let view = BatchView::parse(&batch)?;
            let inflated = walk(&view, &LIMITS)?.inflated_bytes as f64;
            let crc = seconds(|| black_box(&view).verify_crc().is_ok()) / inflated * 1e9;
            let walked = seconds(|| walk(black_box(&view), &LIMITS).is_ok()) / inflated * 1e9;
            let decoded = seconds(|| {
                records(black_box(&view), &LIMITS).is_ok_and(|mut all| all.all(|r| r.is_ok()))
            }) / inflated
                * 1e9;
            let ratio = inflated / batch.len() as f64;
            println!(
                "{record_bytes:6} {batch_bytes:7} {:>7} {ratio:6.2} {crc:9.4} {walked:10.4} {decoded:12.4}",
                compression.name()
            );
        }
    }
    let batch = batch(100, 16 << 10, Compression::None)?;
    let view = BatchView::parse(&batch)?;
    let patch = || patch_max_timestamp(black_box(view.header_bytes()), Timestamp(5)) != [0; 61];
    println!("patch_max_timestamp: {:.0} ns", seconds(patch) * 1e9);
    Ok(())
}

/// Text that compresses about as well as JSON events do.
fn batch(
    record_bytes: usize,
    batch_bytes: usize,
    compression: Compression,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    let mut seed = 12345_u64;
    let mut timestamp = 1_700_000_000_000;
    while builder.uncompressed_size() + record_bytes < batch_bytes {
        let mut value = String::new();
        while value.len() < record_bytes {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            value +=
                &format!("{{\"id\":{},\"user\":\"user-{}\"}}", seed >> 40, (seed >> 33) % 1000);
        }
        value.truncate(record_bytes);
        timestamp += 1;
        builder.append(Timestamp(timestamp), None, Some(value.as_bytes()))?;
    }
    Ok(builder.build()?)
}

/// Seconds of one call: the best of several rounds.
fn seconds(mut call: impl FnMut() -> bool) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..7 {
        let started = Instant::now();
        let mut calls = 0;
        while started.elapsed().as_millis() < 20 {
            for _ in 0..16 {
                assert!(black_box(call()), "the batch is valid");
            }
            calls += 16;
        }
        best = best.min(started.elapsed().as_secs_f64() / f64::from(calls));
    }
    best
}
