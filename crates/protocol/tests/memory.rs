//! Decoding reserves a small multiple of the input at most, whatever lengths it claims.
//!
//! A test binary of its own, because it counts every allocation.

#[allow(dead_code, reason = "shared by several test binaries")]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use support::{Codec, Numbers};

/// Counts what the current thread holds, and the most it held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    let held = HELD.get() + change;
    HELD.set(held);
    MOST.set(MOST.get().max(held));
}

// SAFETY: every call goes to the system's allocator unchanged; counting uses thread-locals without
// destructors, which never allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may exist side by side.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that decoding `bytes` held at once.
fn held_by(codec: &Codec, bytes: &Bytes, version: i16) -> usize {
    let bytes = bytes.clone();
    let before = HELD.get();
    MOST.set(before);
    let _ = (codec.decode)(bytes, version);
    (MOST.get() - before).unsigned_abs()
}

/// 16 times the input and 64 KiB are what the decoder grants; at most twice that while an array moves
/// to its next size.
fn allowed(input: usize) -> usize {
    (16 * input + 64 * 1024) * 2
}

#[track_caller]
fn check(codec: &Codec, bytes: &Bytes, version: i16, label: &str) {
    let held = held_by(codec, bytes, version);
    assert!(held <= allowed(bytes.len()), "{label}: {held} bytes for an input of {}", bytes.len());
}

#[test]
fn any_length_claimed_anywhere_in_a_vector_is_bounded() {
    const CLAIMS: [&[u8]; 4] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x00, 0x10, 0x00, 0x00],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0x7f],
    ];
    for vector in support::vectors() {
        let codec = support::codec_of(&vector.message);
        check(codec, &vector.bytes, vector.version, &vector.label);
        for at in 0..vector.bytes.len() {
            for claim in CLAIMS {
                let mut bytes = vector.bytes.to_vec();
                let end = (at + claim.len()).min(bytes.len());
                bytes.splice(at..end, claim.iter().copied());
                check(codec, &bytes.into(), vector.version, &vector.label);
            }
        }
    }
}

#[test]
fn long_inputs_full_of_the_smallest_elements_are_bounded() {
    const LENGTH: usize = 100_000;
    let mut numbers = Numbers::seeded(0x0771c);
    for vector in support::vectors() {
        let codec = support::codec_of(&vector.message);
        // A claim that the bytes after it could just hold, then elements as small as they can be.
        let at = numbers.below(vector.bytes.len() + 1);
        let claim: &[u8] =
            [&[0x00, 0x00, 0xc3, 0x50][..], &[0xd1, 0x86, 0x03][..]][numbers.below(2)];
        let fill = [0, 1, 1, 2][numbers.below(4)];
        let mut bytes = vector.bytes[..at].to_vec();
        bytes.extend_from_slice(claim);
        bytes.resize(LENGTH, fill);
        check(codec, &bytes.into(), vector.version, &vector.label);
    }
}

#[test]
fn a_list_of_empty_strings_is_refused_before_it_outgrows_its_bytes() {
    // DescribeGroups v5: Groups, a compact array of 100,000 empty strings of one byte each.
    let mut bytes = vec![0xa1, 0x8d, 0x06];
    bytes.resize(100_003, 1);
    bytes.extend_from_slice(&[0, 0]);
    let error = (support::codec_of("DescribeGroupsRequest").decode)(bytes.clone().into(), 5)
        .expect_err("3.2 MB of strings from 100 kB");
    assert!(error.to_string().contains("bytes of memory"), "{error}");
    assert_eq!(error.field, "Groups");

    // Names of three letters stay within the limit.
    let mut named = vec![0xa1, 0x8d, 0x06];
    (0..100_000).for_each(|_| named.extend_from_slice(b"\x04abc"));
    named.extend_from_slice(&[0, 0]);
    (support::codec_of("DescribeGroupsRequest").decode)(named.into(), 5)
        .expect("three-letter names");
}

#[test]
fn many_unknown_tagged_fields_are_bounded() {
    // ApiVersionsRequest v3: two empty strings, then 65,535 tagged fields, each a tag and a size of 0.
    let mut bytes = vec![1, 1, 0xff, 0xff, 0x03];
    (0..65_535).for_each(|_| bytes.extend_from_slice(&[9, 0]));
    check(support::codec_of("ApiVersionsRequest"), &bytes.into(), 3, "65,535 tagged fields");
}
