//! Rules for topic names, shared by the controller and the brokers.

/// The topic of the metadata log; it has no TopicRecord and cannot be created.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// Topics that only brokers write.
pub const INTERNAL_TOPICS: [&str; 3] =
    ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Longest topic name: with a partition number and a suffix it is still a file name.
pub const NAME_LENGTH_MAX: usize = 249;

/// A text that cannot be a topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopicName {
    /// No characters.
    #[error("a topic name cannot be empty")]
    Empty,
    /// `.` or `..`: a directory of that name exists always.
    #[error("a topic name cannot be \"{0}\"")]
    Dots(String),
    /// Longer than [`NAME_LENGTH_MAX`].
    #[error("a topic name has at most {NAME_LENGTH_MAX} characters, this one has {0}")]
    Long(usize),
    /// A character that is not allowed.
    #[error(
        "the topic name {0:?} has characters other than ASCII letters, digits, '.', '_' and '-'"
    )]
    Character(String),
}

/// Checks a topic name.
///
/// # Errors
/// The first rule that `name` breaks.
pub fn validate_topic_name(name: &str) -> Result<(), InvalidTopicName> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match name {
        "" => Err(InvalidTopicName::Empty),
        "." | ".." => Err(InvalidTopicName::Dots(name.to_owned())),
        _ if name.len() > NAME_LENGTH_MAX => Err(InvalidTopicName::Long(name.len())),
        _ if !name.bytes().all(allowed) => Err(InvalidTopicName::Character(name.to_owned())),
        _ => Ok(()),
    }
}

/// Whether only brokers write the topic.
#[must_use]
pub fn is_internal_topic(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

/// What two names have in common that differ only in `.` and `_` (metric names turn the one into
/// the other, so such topics must not exist together); `None` if the name has neither.
#[must_use]
pub fn collision_key(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "A.b_c-9", "__consumer_offsets", "...", &"x".repeat(249)] {
            assert_eq!(validate_topic_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"x".repeat(250)] {
            assert!(validate_topic_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_collide_by_dot_and_underscore() {
        assert_eq!(collision_key("a.b_c"), collision_key("a_b.c"));
        assert_ne!(collision_key("a.b"), collision_key("a.c"));
        assert_eq!(collision_key("a-b"), None);
    }
}
