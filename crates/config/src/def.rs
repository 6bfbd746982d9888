//! What a configuration key is: one [`KeyDef`] row says everything the rest of the crate derives from.

use std::fmt;

/// The type of a value, as `DescribeConfigs` v3+ reports it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Type {
    /// `true` or `false`, in any case.
    Boolean,
    /// Text.
    String,
    /// 32-bit integer.
    Int,
    /// 16-bit integer.
    Short,
    /// 64-bit integer.
    Long,
    /// IEEE double.
    Double,
    /// Comma-separated texts.
    List,
    /// Name of a Java class; kept as text.
    Class,
    /// Text that is never shown.
    Password,
}

impl Type {
    /// The `ConfigType` byte of `DescribeConfigsResponse` (0 is for keys nobody declared).
    pub const fn wire(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// Kafka's name of the type, upper case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// The value of a key nobody set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Default {
    /// There is none: starting without the key is an error.
    Required,
    /// Absent.
    Null,
    /// This text, parsed like a configured one.
    Is(&'static str),
}

impl Default {
    /// The default as text, `None` when there is none or it is absent.
    pub const fn text(self) -> Option<&'static str> {
        match self {
            Self::Is(text) => Some(text),
            Self::Required | Self::Null => None,
        }
    }
}

/// Which values a key accepts beyond its type. `Display` is the rendering Kafka's documentation uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    /// Anything of the type.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number in this closed range.
    Between(i64, i64),
    /// A double in this closed range.
    Ratio(f64, f64),
    /// A gzip level: 1 to 9, or -1 for the library's choice.
    GzipLevel,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// A list of these texts without repetition.
    ListOf(&'static [&'static str]),
    /// A text that is present, possibly empty.
    NonNull,
    /// A text that is not empty when present.
    NonEmpty,
    /// Quorum voters: `id@host:port` each.
    Voters,
    /// Servers: `host:port` each.
    Servers,
    /// Throttled replicas: `partition:broker` each, or `*`.
    ThrottledReplicas,
    /// `latest`, `earliest` or `by_duration:` and an ISO-8601 duration.
    OffsetReset,
}

impl fmt::Display for Valid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::AtLeast(min) => write!(f, "[{min},...]"),
            Self::Between(min, max) => write!(f, "[{min},...,{max}]"),
            Self::Ratio(min, max) => write!(f, "[{min},...,{max}]"),
            Self::GzipLevel => f.write_str("[1,...,9] or -1"),
            Self::OneOf(all) | Self::ListOf(all) => write!(f, "[{}]", all.join(", ")),
            Self::OneOfAnyCase(all) => write!(f, "(case insensitive) [{}]", all.join(", ")),
            Self::NonNull => f.write_str("non-null string"),
            Self::NonEmpty => f.write_str("non-empty string"),
            Self::Voters | Self::Servers => f.write_str("non-empty list"),
            Self::ThrottledReplicas => {
                f.write_str("[partitionId]:[brokerId],[partitionId]:[brokerId],...")
            }
            Self::OffsetReset => f.write_str("[latest, earliest, by_duration:PnDTnHnMn.nS]"),
        }
    }
}

/// How much a key matters, as Kafka grades it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Importance {
    /// Most operators look at it.
    High,
    /// Worth knowing.
    Medium,
    /// Rarely touched.
    Low,
}

impl Importance {
    /// Kafka's name, upper case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
        }
    }
}

/// How a broker key may change while brokers run (KIP-226).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UpdateMode {
    /// Only in the file, read at start.
    ReadOnly,
    /// For one broker id at a time.
    PerBroker,
    /// For all brokers at once, or for one.
    ClusterWide,
    /// The key belongs to a topic, group or subscription and changes with it.
    PerResource,
}

impl UpdateMode {
    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::PerBroker => "per-broker",
            Self::ClusterWide => "cluster-wide",
            Self::PerResource => "per-resource",
        }
    }
}

/// What Ottla does with a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Support {
    /// There is a typed handle or field for it, which code reads.
    Read,
    /// Accepted and reported; nothing reads it yet.
    NotYet,
    /// Accepted and reported; it tunes a part of the JVM broker that does not exist here.
    Unused,
    /// Ignoring it would weaken safety: a value that asks for it stops the start.
    Refused,
}

impl Support {
    /// One word for the reference page.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::NotYet => "not yet",
            Self::Unused => "no effect",
            Self::Refused => "refused",
        }
    }
}

/// One configuration key. Parser, validation, `DescribeConfigs`, dynamic update and the reference
/// page derive from this row.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyDef {
    /// Kafka's name of the key, or one of ours with the prefix `ottla.`.
    pub name: &'static str,
    /// What it means, for people.
    pub doc: &'static str,
    /// Type of the value.
    pub ty: Type,
    /// Value when nobody sets it.
    pub default: Default,
    /// Accepted values.
    pub valid: Valid,
    /// Kafka's grade.
    pub importance: Importance,
    /// How it changes at run time.
    pub update: UpdateMode,
    /// Left out of `DescribeConfigs` and of the reference page, as Kafka's internal keys are.
    pub internal: bool,
    /// Broker keys that supply the default, first set wins. For a broker key: all spellings of one
    /// setting in order of precedence, itself included; empty when it is the only one.
    pub synonyms: &'static [&'static str],
    /// What Ottla does with it.
    pub support: Support,
}

impl KeyDef {
    /// True for values that are never shown.
    pub const fn sensitive(&self) -> bool {
        matches!(self.ty, Type::Password)
    }

    const fn new(name: &'static str, ty: Type, default: Default, doc: &'static str) -> Self {
        Self {
            name,
            doc,
            ty,
            default,
            valid: Valid::Any,
            importance: Importance::Medium,
            update: UpdateMode::ReadOnly,
            internal: false,
            synonyms: &[],
            support: Support::NotYet,
        }
    }
    pub(crate) const fn boolean(name: &'static str, d: Default, doc: &'static str) -> Self {
        Self::new(name, Type::Boolean, d, doc)
    }
    pub(crate) const fn string(name: &'static str, d: Default, doc: &'static str) -> Self {
        Self::new(name, Type::String, d, doc)
    }
    pub(crate) const fn int(name: &'static str, d: Default, doc: &'static str) -> Self {
        Self::new(name, Type::Int, d, doc)
    }
    pub(crate) const fn short(name: &'static str, d: Default, doc: &'static str) -> Self {
        Self::new(name, Type::Short, d, doc)
    }
    pub(crate) const fn long(name: &'static str, d: Default, doc: &'static str) -> Self {
        Self::new(name, Type::Long, d, doc)
    }
    pub(crate) const fn double(name: &'static str, d: Default, doc: &'static str) -> Self {
        Self::new(name, Type::Double, d, doc)
    }
    pub(crate) const fn list(name: &'static str, d: Default, doc: &'static str) -> Self {
        Self::new(name, Type::List, d, doc)
    }
    pub(crate) const fn class(name: &'static str, d: Default, doc: &'static str) -> Self {
        Self::new(name, Type::Class, d, doc)
    }
    pub(crate) const fn password(name: &'static str, d: Default, doc: &'static str) -> Self {
        Self::new(name, Type::Password, d, doc)
    }
    pub(crate) const fn valid(mut self, valid: Valid) -> Self {
        self.valid = valid;
        self
    }
    pub(crate) const fn high(mut self) -> Self {
        self.importance = Importance::High;
        self
    }
    pub(crate) const fn low(mut self) -> Self {
        self.importance = Importance::Low;
        self
    }
    pub(crate) const fn cluster_wide(mut self) -> Self {
        self.update = UpdateMode::ClusterWide;
        self
    }
    pub(crate) const fn per_broker(mut self) -> Self {
        self.update = UpdateMode::PerBroker;
        self
    }
    pub(crate) const fn per_resource(mut self) -> Self {
        self.update = UpdateMode::PerResource;
        self
    }
    pub(crate) const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }
    pub(crate) const fn synonyms(mut self, synonyms: &'static [&'static str]) -> Self {
        self.synonyms = synonyms;
        self
    }
    pub(crate) const fn read(mut self) -> Self {
        self.support = Support::Read;
        self
    }
    pub(crate) const fn unused(mut self) -> Self {
        self.support = Support::Unused;
        self
    }
    pub(crate) const fn refused(mut self) -> Self {
        self.support = Support::Refused;
        self
    }
}
