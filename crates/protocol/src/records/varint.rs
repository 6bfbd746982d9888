//! Zig-zag varints as record bodies use them.

/// Appends `value` as a zig-zag varint (1 to 5 bytes).
pub(super) fn write_varint(out: &mut Vec<u8>, value: i32) {
    write_varlong(out, i64::from(value));
}

/// Appends `value` as a zig-zag varlong (1 to 10 bytes).
pub(super) fn write_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        // The mask leaves 7 bits, so the cast loses nothing.
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Undoes zig-zag on 32 bits.
pub(super) const fn unzigzag(raw: u32) -> i32 {
    (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed())
}

/// Undoes zig-zag on 64 bits.
pub(super) const fn unzigzag_long(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_the_bytes_of_the_zig_zag_encoding() {
        for (value, want) in [
            (0_i64, vec![0_u8]),
            (-1, vec![1]),
            (1, vec![2]),
            (63, vec![0x7e]),
            (-64, vec![0x7f]),
            (64, vec![0x80, 0x01]),
            (i64::from(i32::MAX), vec![0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), vec![0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MIN, vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            let mut out = Vec::new();
            write_varlong(&mut out, value);
            assert_eq!(out, want, "{value}");
        }
        assert_eq!(
            [unzigzag(0), unzigzag(1), unzigzag(2), unzigzag(u32::MAX)],
            [0, -1, 1, i32::MIN]
        );
        assert_eq!(unzigzag_long(u64::MAX), i64::MIN);
    }
}
