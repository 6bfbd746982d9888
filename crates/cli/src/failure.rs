//! Why a command failed, as a sentence and an exit code.

use std::fmt;
use std::io;

use ottla_net::client::ClientError;
use ottla_protocol::ErrorCode;

/// The outcome of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command failed. The exit codes are in docs/COMMAND.md and do not change.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A broker said no, a file is not what it should be, or a check found a problem. Exit code 1.
    Failed(String),
    /// What was asked for is contradictory or not understood. Exit code 2.
    Usage(String),
    /// No broker could be reached, or none answered in time. Exit code 3.
    Unreachable(String),
    /// The topic, group, broker or file that was named does not exist. Exit code 4.
    NotFound(String),
    /// A broker answered with an error code. Exit code 1, or 4 where the code says "not there".
    Refused(Refusal),
    /// Whoever read the output has seen enough. Exit code 0.
    OutputClosed,
    /// A signal, by its number: 128 and the number.
    Signal(u8),
}

/// An error code that a broker answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The request or the thing it is about.
    pub(crate) what: String,
    /// The code on the wire.
    pub(crate) code: i16,
    /// The broker's own words.
    pub(crate) message: Option<String>,
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::NotFound(_) => 4,
            Self::Refused(refusal) => refusal.exit_code(),
            Self::OutputClosed => 0,
            Self::Signal(number) => 128 + number,
        }
    }

    /// The broker's error code, if that is what it is.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(refusal) => refusal.known(),
            _ => None,
        }
    }
}

impl Refusal {
    /// The code, if this release knows it.
    pub(crate) fn known(&self) -> Option<ErrorCode> {
        ErrorCode::from_code(self.code)
    }

    /// The broker's words, else what Kafka's clients say for the code.
    pub(crate) fn words(&self) -> String {
        match (&self.message, self.known()) {
            (Some(message), _) if !message.is_empty() => message.clone(),
            (_, Some(code)) => code.name().to_owned(),
            (_, None) => format!("error {}", self.code),
        }
    }

    fn exit_code(&self) -> u8 {
        match self.known() {
            Some(
                ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::GroupIdNotFound
                | ErrorCode::TransactionalIdNotFound
                | ErrorCode::ResourceNotFound
                | ErrorCode::BrokerIdNotRegistered,
            ) => 4,
            _ => 1,
        }
    }

    /// What to do about it, where that is known.
    fn advice(&self) -> Option<&'static str> {
        Some(match self.known()? {
            ErrorCode::UnknownTopicOrPartition => "`ottla topic list` shows what there is",
            ErrorCode::GroupIdNotFound => "`ottla group list` shows what there is",
            ErrorCode::TransactionalIdNotFound => "`ottla txn list` shows what there is",
            ErrorCode::NonEmptyGroup => "stop its members first; `ottla group describe` shows them",
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                "the group has members; stop them first"
            }
            ErrorCode::UnsupportedVersion => "`ottla cluster info` shows the broker's features",
            _ => return None,
        })
    }
}

/// An error if `code` is one.
///
/// # Errors
/// [`Failure::Refused`].
pub(crate) fn check(what: impl fmt::Display, code: i16, message: Option<&str>) -> Outcome {
    if code == 0 {
        return Ok(());
    }
    let message = message.map(str::to_owned);
    Err(Failure::Refused(Refusal { what: what.to_string(), code, message }))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text)
            | Self::Usage(text)
            | Self::Unreachable(text)
            | Self::NotFound(text) => f.write_str(text),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::OutputClosed => f.write_str("the output was closed"),
            Self::Signal(number) => write!(f, "ended by signal {number}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.what)?;
        match (self.known(), &self.message) {
            (Some(code), Some(message)) if !message.is_empty() => {
                write!(f, "{} ({})", message.trim_end_matches('.'), code.name())?;
            }
            _ => f.write_str(&self.words())?,
        }
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

/// An error while writing to standard output.
pub(crate) fn output_error(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Failed(format!("cannot write the output: {error}")),
    }
}

/// An error about a file.
pub(crate) fn file_error(path: &std::path::Path, error: &io::Error) -> Failure {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::NotFound => Failure::NotFound(text),
        _ => Failure::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_what_the_documentation_says() {
        let refused = |code: ErrorCode| check("x", code as i16, None).unwrap_err().exit_code();
        assert_eq!(refused(ErrorCode::UnknownTopicOrPartition), 4);
        assert_eq!(refused(ErrorCode::GroupIdNotFound), 4);
        assert_eq!(refused(ErrorCode::InvalidConfig), 1);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
        assert_eq!(Failure::Unreachable(String::new()).exit_code(), 3);
        assert_eq!(Failure::Signal(2).exit_code(), 130);
        assert!(check("x", 0, Some("fine")).is_ok());
    }

    #[test]
    fn a_refusal_says_what_why_and_what_to_do() {
        let error = check("topic t", 3, None).unwrap_err();
        let want = "topic t: UNKNOWN_TOPIC_OR_PARTITION; `ottla topic list` shows what there is";
        assert_eq!(error.to_string(), want);
        let error = check("topic t", 40, Some("Unknown topic config name: x.")).unwrap_err();
        assert_eq!(error.to_string(), "topic t: Unknown topic config name: x (INVALID_CONFIG)");
        assert_eq!(check("x", 9999, None).unwrap_err().to_string(), "x: error 9999");
    }
}
