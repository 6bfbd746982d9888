//! CRC-32C (Castagnoli), the checksum of record batches, snapshots and checkpoints, and CRC-32 of
//! the old message formats and gzip.

use crc_fast::{CrcAlgorithm, Digest};

/// The CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    // 32-bit checksums come in the low half.
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Continues: the CRC-32C of the bytes that gave `crc` followed by `bytes`. Start with 0.
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    append(CrcAlgorithm::Crc32Iscsi, crc, bytes)
}

/// The CRC-32C of `a ++ b` from the CRCs of `a` and `b`, in O(log `b_len`) without the bytes.
#[must_use]
pub fn crc32c_combine(a: u32, b: u32, b_len: usize) -> u32 {
    shift(a, b_len) ^ b
}

/// The CRC-32 (ISO-HDLC, zlib's) of `bytes`.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) as u32
}

/// Continues a CRC-32 as [`crc32c_append`] does a CRC-32C.
pub(super) fn crc32_append(crc: u32, bytes: &[u8]) -> u32 {
    append(CrcAlgorithm::Crc32IsoHdlc, crc, bytes)
}

fn append(algorithm: CrcAlgorithm, crc: u32, bytes: &[u8]) -> u32 {
    // Both algorithms invert the register at the end.
    let mut digest = Digest::new_with_init_state(algorithm, u64::from(!crc));
    digest.update(bytes);
    digest.finalize() as u32
}

/// The CRC-32C polynomial, bits reflected: bit 31 is x^0.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// Bytes of a length that fits in memory are counted in fewer than 48 bits.
const POWERS: usize = 48;

/// `BYTE_SHIFTS[k]` is x^(8 * 2^k) modulo the polynomial: what 2^k more bytes multiply by.
const BYTE_SHIFTS: [u32; POWERS] = {
    let mut table = [0; POWERS];
    let mut power = 1 << 23; // x^8
    let mut k = 0;
    while k < POWERS {
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time, k < POWERS")]
        {
            table[k] = power;
        }
        power = multiply(power, power);
        k += 1;
    }
    table
};

/// `crc` times x^(8 * bytes): what appending that many zero bytes does, without its final inversion.
fn shift(crc: u32, bytes: usize) -> u32 {
    let used = BYTE_SHIFTS.iter().enumerate().filter(|(k, _)| bytes >> k & 1 == 1);
    used.fold(crc, |crc, (_, power)| multiply(*power, crc))
}

/// The product of two polynomials modulo CRC-32C's, bits reflected.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 0;
    while bit < 32 {
        // All-ones masks in place of branches: the bits are as good as random.
        product ^= b & 0_u32.wrapping_sub((a >> (31 - bit)) & 1);
        b = (b >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(b & 1));
        bit += 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_matches_rfc_3720_and_its_parts_combine() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let bytes: Vec<u8> = (0..5000_u32).map(|i| (i * 7 % 251) as u8).collect();
        for cut in [0, 1, 40, 1024, 4999, 5000] {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(crc32c_append(crc32c(a), b), crc32c(&bytes), "append at {cut}");
            assert_eq!(crc32_append(crc32(a), b), crc32(&bytes), "append at {cut}");
            let combined = crc32c_combine(crc32c(a), crc32c(b), b.len());
            assert_eq!(combined, crc32c(&bytes), "combine at {cut}");
        }
    }
}
