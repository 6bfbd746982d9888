//! Failures in the words of Kafka's Java clients.

use ottla_protocol::ErrorCode;

use crate::failure::{Failure, Refusal};

/// A failure as `package.Class: message`, as a Java tool prints an exception.
pub(super) fn with_class(failure: &Failure) -> String {
    match failure {
        Failure::Refused(refusal) => format!("{}: {}", class(refusal), message(refusal)),
        other => other.to_string(),
    }
}

/// The failure's message without its class.
pub(super) fn message_of(failure: &Failure) -> String {
    match failure {
        Failure::Refused(refusal) => message(refusal),
        other => other.to_string(),
    }
}

/// The name of the exception that Java clients throw for a code.
fn class(refusal: &Refusal) -> String {
    let name = match refusal.known() {
        None => "UnknownServerError".to_owned(),
        Some(ErrorCode::TopicAlreadyExists) => "TopicExists".to_owned(),
        Some(ErrorCode::InvalidConfig) => "InvalidConfiguration".to_owned(),
        Some(ErrorCode::RequestTimedOut) => "Timeout".to_owned(),
        Some(ErrorCode::NonEmptyGroup) => "GroupNotEmpty".to_owned(),
        Some(ErrorCode::UnknownServerError) => "UnknownServer".to_owned(),
        Some(code) => {
            let name = format!("{code:?}");
            let name = name.strip_suffix("Exception").map(str::to_owned).unwrap_or(name);
            match name.strip_suffix("AuthorizationFailed") {
                Some(start) => format!("{start}Authorization"),
                None => name,
            }
        }
    };
    format!("org.apache.kafka.common.errors.{name}Exception")
}

/// The broker's message, or what Java's clients say for the code when it sent none.
fn message(refusal: &Refusal) -> String {
    if let Some(message) = refusal.message.as_deref().filter(|message| !message.is_empty()) {
        return message.to_owned();
    }
    match refusal.known() {
        Some(ErrorCode::UnknownTopicOrPartition) => {
            "This server does not host this topic-partition.".to_owned()
        }
        Some(ErrorCode::GroupIdNotFound) => "The group id does not exist.".to_owned(),
        Some(ErrorCode::NonEmptyGroup) => "The group is not empty.".to_owned(),
        Some(ErrorCode::TopicAlreadyExists) => "Topic with this name already exists.".to_owned(),
        Some(ErrorCode::UnknownMemberId) => {
            "The coordinator is not aware of this member.".to_owned()
        }
        Some(ErrorCode::GroupSubscribedToTopic) => {
            "The consumer group is actively subscribed to the topic.".to_owned()
        }
        _ => refusal.words(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::check;

    #[test]
    fn scripts_find_the_names_of_javas_exceptions() {
        for (code, want) in [
            (36, "org.apache.kafka.common.errors.TopicExistsException: Topic 't' exists"),
            (40, "org.apache.kafka.common.errors.InvalidConfigurationException: Topic 't' exists"),
            (17, "org.apache.kafka.common.errors.InvalidTopicException: Topic 't' exists"),
            (29, "org.apache.kafka.common.errors.TopicAuthorizationException: Topic 't' exists"),
        ] {
            let failure = check("x", code, Some("Topic 't' exists")).unwrap_err();
            assert_eq!(with_class(&failure), want);
        }
        let failure = check("x", 69, None).unwrap_err();
        assert_eq!(message_of(&failure), "The group id does not exist.");
    }
}
