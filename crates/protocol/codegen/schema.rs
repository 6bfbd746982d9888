//! Parser of the schema files; the format is explained in `schemas/README.md`.

use std::fmt;

/// A line that cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SchemaError {
    /// File name and line number.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) what: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// An inclusive range of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    /// `i16::MAX` for an open range.
    pub(crate) max: i16,
}

/// What kind of message it is: the first word of its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    Header,
    Data,
    Metadata,
    CoordinatorKey,
    CoordinatorValue,
}

/// A field's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    String,
    Bytes,
    Uuid,
    Records,
    Struct(String),
    Array(Box<Type>),
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) versions: Versions,
    pub(crate) null: Option<Versions>,
    pub(crate) default: Option<String>,
    pub(crate) tag: Option<u32>,
    pub(crate) ignorable: bool,
    /// Never compact, even in flexible versions.
    pub(crate) never_flexible: bool,
}

/// A struct: the message itself, or one nested in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) key: Option<i16>,
    /// `None` for removed APIs.
    pub(crate) valid: Option<Versions>,
    pub(crate) flexible: Option<i16>,
    pub(crate) listeners: Vec<String>,
    pub(crate) latest_unstable: bool,
    /// The message itself first, then the nested ones in the order of the schema.
    pub(crate) structs: Vec<Struct>,
}

type Result<T> = std::result::Result<T, SchemaError>;

/// Parses one schema file; `file` is its name for error messages.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Message>> {
    let mut messages: Vec<Message> = Vec::new();
    // The structs that enclose the next line: (index in `structs`, indentation of its fields).
    let mut open: Vec<(usize, usize)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = Place { file, line: number + 1 };
        let content = line.trim_start_matches(' ');
        if content.trim().is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = line.len() - content.len();
        let mut parts = content.split('|').map(str::trim);
        let head = parts.next().unwrap_or_default();
        if indent == 0 {
            messages.push(message(place, head, parts)?);
            open = vec![(0, 2)];
            continue;
        }
        let Some(current) = messages.last_mut() else {
            return place.fail("a field before the first message");
        };
        while open.last().is_some_and(|&(_, fields)| fields > indent) {
            open.pop();
        }
        let Some(&(parent, fields)) = open.last() else {
            return place.fail("indented by less than 2");
        };
        if fields != indent {
            return place.fail(format!("indented by {indent}, expected {fields}"));
        }
        let nested = match head.strip_prefix("struct ") {
            Some(name) => Some(name.to_owned()),
            None => {
                let field = field(place, head, parts)?;
                let nested = field.ty.struct_name().map(str::to_owned);
                let siblings = &mut current.structs[parent].fields;
                if siblings.iter().any(|other| other.name == field.name) {
                    return place.fail(format!("a second field {}", field.name));
                }
                siblings.push(field);
                nested
            }
        };
        if let Some(name) = nested {
            // Not listed until it has fields: the field may use a struct declared elsewhere.
            let index = current.structs.len();
            let next_is_deeper = text.lines().nth(number + 1).is_some_and(|next| {
                !next.trim().is_empty() && next.len() - next.trim_start_matches(' ').len() > indent
            });
            if next_is_deeper {
                if current.structs.iter().any(|other| other.name == name) {
                    return place.fail(format!("a second struct {name}"));
                }
                current.structs.push(Struct { name, fields: Vec::new() });
                open.push((index, indent + 2));
            }
        }
    }
    for message in &messages {
        check(file, message)?;
    }
    Ok(messages)
}

#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a str,
    line: usize,
}

impl Place<'_> {
    fn fail<T>(self, what: impl Into<String>) -> Result<T> {
        Err(SchemaError { place: format!("{}:{}", self.file, self.line), what: what.into() })
    }
}

fn message<'a>(
    place: Place<'_>,
    head: &str,
    attributes: impl Iterator<Item = &'a str>,
) -> Result<Message> {
    let Some((kind, name)) = head.split_once(' ') else {
        return place.fail(format!("expected a kind and a name, found {head:?}"));
    };
    let kind = match kind {
        "request" => Kind::Request,
        "response" => Kind::Response,
        "header" => Kind::Header,
        "data" => Kind::Data,
        "metadata" => Kind::Metadata,
        "coordinator-key" => Kind::CoordinatorKey,
        "coordinator-value" => Kind::CoordinatorValue,
        _ => return place.fail(format!("unknown kind {kind:?}")),
    };
    identifier(place, name)?;
    let mut message = Message {
        kind,
        name: name.to_owned(),
        key: None,
        valid: None,
        flexible: None,
        listeners: Vec::new(),
        latest_unstable: false,
        structs: vec![Struct { name: name.to_owned(), fields: Vec::new() }],
    };
    let (mut has_valid, mut has_flexible) = (false, false);
    for attribute in attributes {
        match attribute.split_once(' ').unwrap_or((attribute, "")) {
            ("key", key) => message.key = Some(number(place, key)?),
            ("valid", range) => {
                has_valid = true;
                message.valid = if range == "none" { None } else { Some(versions(place, range)?) };
            }
            ("flexible", range) => {
                has_flexible = true;
                message.flexible =
                    if range == "none" { None } else { Some(versions(place, range)?.min) };
            }
            ("listeners", list) => message.listeners = list.split(',').map(str::to_owned).collect(),
            ("latest-unstable", "") => message.latest_unstable = true,
            _ => return place.fail(format!("unknown attribute {attribute:?} of a message")),
        }
    }
    if !has_valid || !has_flexible {
        return place.fail(format!("{name} needs both `valid` and `flexible`"));
    }
    Ok(message)
}

fn field<'a>(
    place: Place<'_>,
    head: &str,
    mut attributes: impl Iterator<Item = &'a str>,
) -> Result<Field> {
    let Some((name, ty)) = head.split_once(": ") else {
        return place.fail(format!("expected `Name: type`, found {head:?}"));
    };
    identifier(place, name)?;
    let Some(range) = attributes.next() else {
        return place.fail(format!("field {name} has no versions"));
    };
    let mut field = Field {
        name: name.to_owned(),
        ty: parse_type(place, ty)?,
        versions: versions(place, range)?,
        null: None,
        default: None,
        tag: None,
        ignorable: false,
        never_flexible: false,
    };
    for attribute in attributes {
        match attribute.split_once(' ').unwrap_or((attribute, "")) {
            ("null", range) => field.null = Some(versions(place, range)?),
            ("default", value) => field.default = Some(value.to_owned()),
            ("tag", tag) => {
                let (tag, range) = tag.split_once(' ').unwrap_or((tag, ""));
                field.tag = Some(number(place, tag)?);
                if versions(place, range)? != field.versions {
                    return place
                        .fail(format!("{name}: a field is tagged in all its versions or in none"));
                }
            }
            ("ignorable", "") => field.ignorable = true,
            ("flexible", "none") => field.never_flexible = true,
            // What a client keys its map by, and what kind of name it is: of no use here.
            ("key", "") | ("entity", _) => {}
            _ => return place.fail(format!("unknown attribute {attribute:?} of field {name}")),
        }
    }
    check_default(place, &field)?;
    Ok(field)
}

fn check_default(place: Place<'_>, field: &Field) -> Result<()> {
    let Some(default) = &field.default else { return Ok(()) };
    let fits = match (default.as_str(), &field.ty) {
        ("null", _) => field.null.is_some(),
        (text, Type::Bool) => matches!(text, "true" | "false"),
        ("\"\"", Type::String) => true,
        (
            text,
            Type::Int8 | Type::Int16 | Type::Uint16 | Type::Int32 | Type::Uint32 | Type::Int64,
        ) => match text.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16).is_ok(),
            None => text.parse::<i64>().is_ok(),
        },
        _ => false,
    };
    if fits {
        return Ok(());
    }
    place.fail(format!("field {} cannot have the default {default}", field.name))
}

fn parse_type(place: Place<'_>, text: &str) -> Result<Type> {
    if let Some(element) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let element = parse_type(place, element)?;
        if matches!(element, Type::Array(_) | Type::Records) {
            return place.fail(format!("{text}: arrays of arrays or records do not exist"));
        }
        return Ok(Type::Array(Box::new(element)));
    }
    Ok(match text {
        "bool" => Type::Bool,
        "int8" => Type::Int8,
        "int16" => Type::Int16,
        "uint16" => Type::Uint16,
        "int32" => Type::Int32,
        "uint32" => Type::Uint32,
        "int64" => Type::Int64,
        "float64" => Type::Float64,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "uuid" => Type::Uuid,
        "records" => Type::Records,
        _ if text.starts_with(|first: char| first.is_ascii_uppercase()) => {
            identifier(place, text)?;
            Type::Struct(text.to_owned())
        }
        _ => return place.fail(format!("unknown type {text:?}")),
    })
}

fn versions(place: Place<'_>, text: &str) -> Result<Versions> {
    let range = if let Some(min) = text.strip_suffix('+') {
        Versions { min: number(place, min)?, max: i16::MAX }
    } else if let Some((min, max)) = text.split_once('-') {
        Versions { min: number(place, min)?, max: number(place, max)? }
    } else {
        let only = number(place, text)?;
        Versions { min: only, max: only }
    };
    if range.min > range.max {
        return place.fail(format!("versions {text} are upside down"));
    }
    Ok(range)
}

fn number<T: std::str::FromStr>(place: Place<'_>, text: &str) -> Result<T> {
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) => place.fail(format!("expected a number, found {text:?}")),
    }
}

fn identifier(place: Place<'_>, name: &str) -> Result<()> {
    let valid = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric());
    if valid { Ok(()) } else { place.fail(format!("{name:?} is not a name")) }
}

/// What can only be seen with the whole message at hand.
fn check(file: &str, message: &Message) -> Result<()> {
    let fail = |what: String| Err(SchemaError { place: format!("{file}: {}", message.name), what });
    for st in &message.structs {
        let mut tags: Vec<u32> = st.fields.iter().filter_map(|field| field.tag).collect();
        tags.sort_unstable();
        if tags.windows(2).any(|pair| pair[0] == pair[1]) {
            return fail(format!("{} has one tag twice", st.name));
        }
        for field in &st.fields {
            if let Some(name) = field.ty.struct_name()
                && !message.structs.iter().any(|other| other.name == name)
            {
                return fail(format!("{}.{} has the unknown type {name}", st.name, field.name));
            }
            let first = field.versions.min.max(message.valid.map_or(0, |valid| valid.min));
            if field.tag.is_some() && message.flexible.is_none_or(|flexible| flexible > first) {
                return fail(format!(
                    "{}.{} is tagged in a version that is not flexible",
                    st.name, field.name
                ));
            }
        }
    }
    if recursive(message, &message.name, message.structs.len()) {
        return fail("a struct contains itself".to_owned());
    }
    Ok(())
}

/// Whether following the structs from `name` goes deeper than there are structs.
fn recursive(message: &Message, name: &str, depth: usize) -> bool {
    let Some(st) = message.structs.iter().find(|st| st.name == name) else { return false };
    depth == 0
        || st
            .fields
            .iter()
            .filter_map(|field| field.ty.struct_name())
            .any(|inner| recursive(message, inner, depth - 1))
}

impl Type {
    /// The struct that this is, or is an array of.
    pub(crate) fn struct_name(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.struct_name(),
            _ => None,
        }
    }
}
