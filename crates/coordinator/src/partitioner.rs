//! Which partition of `__consumer_offsets` (and so which broker) coordinates a group.

/// Java's `String.hashCode`: over the UTF-16 code units of `text`, with wrap-around.
#[must_use]
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// The partition that coordinates `group_id` (or, by the same rule, a transactional id) when the
/// log has `partitions` partitions. A count below 1 counts as 1.
///
/// The absolute value is taken, not a mask; `i32::MIN`, which has none, counts as 0.
#[must_use]
pub fn partition_for(group_id: &str, partitions: i32) -> i32 {
    java_string_hash(group_id).checked_abs().unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_and_partition_are_javas() {
        for (text, hash, partition) in [
            ("", 0, 0),
            ("a", 97, 47),
            ("21", 1599, 49),
            ("foobar", -1268878963, 13),
            ("a-little-bit-long-string", -865776169, 19),
            ("a-little-bit-longer-string", -1512594870, 20),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -305440039, 39),
            ("key-0", 101943362, 12),
            ("key-1", 101943363, 13),
            ("ключ", 33309882, 32),
            ("sg:AiTeuvKeRnmqODwOKfhf8w:0", java_string_hash("sg:AiTeuvKeRnmqODwOKfhf8w:0"), 15),
        ] {
            assert_eq!(java_string_hash(text), hash, "{text:?}");
            assert_eq!(partition_for(text, 50), partition, "{text:?}");
        }
    }

    #[test]
    fn characters_outside_the_basic_plane_count_as_two_units() {
        // U+1F600 is D83D DE00: 0xD83D * 31 + 0xDE00.
        assert_eq!(java_string_hash("😀"), 0xD83D * 31 + 0xDE00);
    }

    #[test]
    fn the_smallest_hash_maps_to_partition_0() {
        // A known text whose hash is Integer.MIN_VALUE.
        assert_eq!(java_string_hash("polygenelubricants"), i32::MIN);
        assert_eq!(partition_for("polygenelubricants", 50), 0);
    }
}
