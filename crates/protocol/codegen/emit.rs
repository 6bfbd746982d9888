//! Emits the structs of the messages and their codec.

use std::fmt::Write as _;

use super::names::{camel, snake};
use super::schema::{Field, Kind, Message, Struct, Type, Versions};

/// A macro that calls another with the names of all messages, for tests over every message.
pub(crate) fn every_message(messages: &[Message]) -> String {
    let names: Vec<&str> = messages.iter().map(|message| message.name.as_str()).collect();
    format!(
        "macro_rules! every_message {{ ($then:ident) => {{ $then! {{ {} }} }}; }}\n",
        names.join(", ")
    )
}

/// The Rust text of all messages: a module per message, everything top-level re-exported.
pub(crate) fn messages(messages: &[Message]) -> String {
    let mut out = String::new();
    for message in messages {
        let module = snake(&message.name);
        line(&mut out, &format!("/// `{}`: {}.", message.name, describe(message)));
        line(&mut out, &format!("pub mod {module} {{\nuse super::prelude::*;"));
        for st in &message.structs {
            Emitter { message, st }.emit(&mut out);
        }
        traits(&mut out, message);
        line(&mut out, "}");
        line(&mut out, &format!("pub use {module}::{};", message.name));
    }
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn describe(message: &Message) -> String {
    let versions = match message.valid {
        Some(valid) => format!("versions {}", range(valid)),
        None => "no version left".to_owned(),
    };
    match message.key {
        Some(key) => format!("key {key}, {versions}"),
        None => versions,
    }
}

fn range(versions: Versions) -> String {
    match versions {
        Versions { min, max: i16::MAX } => format!("{min}+"),
        Versions { min, max } if min == max => format!("{min}"),
        Versions { min, max } => format!("{min} to {max}"),
    }
}

fn traits(out: &mut String, message: &Message) {
    let name = &message.name;
    // RangeInclusive::new: a literal `0..=-1` would trip a lint.
    let (min, max) = message.valid.map_or((0, -1), |valid| (valid.min, valid.max));
    let _ = writeln!(
        out,
        "impl Message for {name} {{
const NAME: &'static str = {name:?};
const VERSIONS: RangeInclusive<i16> = RangeInclusive::new({min}, {max});
const FLEXIBLE_FROM: Option<i16> = {:?};
{}}}",
        message.flexible,
        throttle_time(message)
    );
    match (message.kind, message.key) {
        (Kind::Request, _) => {
            let api = name.trim_end_matches("Request");
            let _ = writeln!(
                out,
                "impl Request for {name} {{
const KEY: ApiKey = ApiKey::{api};
type Response = super::{api}Response;
}}"
            );
        }
        (Kind::Metadata | Kind::CoordinatorKey | Kind::CoordinatorValue, Some(key)) => {
            let _ = writeln!(out, "impl LogRecord for {name} {{ const TYPE: i16 = {key}; }}");
        }
        _ => {}
    }
}

/// The accessor of the field that most responses have in common.
fn throttle_time(message: &Message) -> &'static str {
    let top = message.structs.iter().find(|st| st.name == message.name);
    let has = |st: &Struct| st.fields.iter().any(|field| field.name == "ThrottleTimeMs");
    if message.kind == Kind::Response && top.is_some_and(has) {
        "fn throttle_time_ms(&mut self) -> Option<&mut i32> { Some(&mut self.throttle_time_ms) }\n"
    } else {
        ""
    }
}

/// Whether a condition on `version` is settled within the message's versions.
enum Condition {
    Always,
    Never,
    When(String),
}

impl Condition {
    fn text(&self) -> &str {
        match self {
            Self::Always => "true",
            Self::Never => "false",
            Self::When(text) => text,
        }
    }
}

struct Emitter<'a> {
    message: &'a Message,
    st: &'a Struct,
}

impl Emitter<'_> {
    fn emit(&self, out: &mut String) {
        self.definition(out);
        self.default(out);
        let _ = writeln!(
            out,
            "impl Element for {} {{
const MIN_SIZE: usize = {};
fn read(d: &mut Decoder, version: i16, _: bool, _: &'static str) -> Result<Self, DecodeError> {{",
            self.st.name,
            min_size(self.message, self.st)
        );
        self.read(out);
        line(out, "}");
        line(
            out,
            "fn write(&self, e: &mut Encoder, version: i16, _: bool, _: &'static str) -> Result<(), EncodeError> {",
        );
        self.write(out);
        line(out, "}\n}");
        self.inspect(out);
    }

    /// Log records and what control records hold can be shown; requests need not.
    fn inspect(&self, out: &mut String) {
        use Kind::{CoordinatorKey, CoordinatorValue, Data, Metadata};
        if !matches!(self.message.kind, CoordinatorKey | CoordinatorValue | Data | Metadata) {
            return;
        }
        let _ = writeln!(
            out,
            "impl Inspect for {} {{\nfn show(&self, to: &mut dyn Inspector) {{\nto.begin_struct();",
            self.st.name
        );
        for field in &self.st.fields {
            let _ = writeln!(
                out,
                "to.field({:?});\nself.{}.show(to);",
                camel(&field.name),
                snake(&field.name)
            );
        }
        line(out, "to.end_struct();\n}\n}");
    }

    fn flexible(&self) -> Condition {
        match (self.message.flexible, self.message.valid) {
            (Some(min), Some(_)) => self.in_versions(Versions { min, max: i16::MAX }),
            _ => Condition::Never,
        }
    }

    fn has_tags(&self) -> bool {
        !matches!(self.flexible(), Condition::Never)
    }

    fn in_versions(&self, versions: Versions) -> Condition {
        let Some(valid) = self.message.valid else { return Condition::Never };
        let (min, max) = (versions.min, versions.max);
        if max < valid.min || min > valid.max {
            return Condition::Never;
        }
        match (min <= valid.min, max >= valid.max) {
            (true, true) => Condition::Always,
            (false, true) => Condition::When(format!("version >= {min}")),
            (true, false) => Condition::When(format!("version <= {max}")),
            (false, false) => Condition::When(format!("({min}..={max}).contains(&version)")),
        }
    }

    fn definition(&self, out: &mut String) {
        let Struct { name, fields } = self.st;
        if *name == self.message.name {
            line(out, &format!("/// {}.", describe(self.message)));
        } else {
            line(out, &format!("/// Part of [`{}`].", self.message.name));
        }
        // Only where every default is the type's own can it be derived.
        let derived = if self.st.fields.iter().all(plain_default) { ", Default" } else { "" };
        line(out, &format!("#[derive(Debug, Clone, PartialEq{derived})]\npub struct {name} {{"));
        for field in fields {
            let _ = writeln!(
                out,
                "/// {}.\npub {}: {},",
                field_doc(field),
                snake(&field.name),
                rust_type(field)
            );
        }
        if self.has_tags() {
            line(
                out,
                "/// Tagged fields of versions to come.\npub unknown_tagged_fields: UnknownTaggedFields,",
            );
        }
        line(out, "}");
    }

    fn default(&self, out: &mut String) {
        let Struct { name, fields } = self.st;
        if fields.iter().all(plain_default) {
            return;
        }
        line(out, &format!("impl Default for {name} {{\nfn default() -> Self {{ Self {{"));
        for field in fields {
            let _ = writeln!(out, "{}: {},", snake(&field.name), default_value(field));
        }
        if self.has_tags() {
            line(out, "unknown_tagged_fields: UnknownTaggedFields::default(),");
        }
        line(out, "} } }");
    }

    fn flex_binding(&self, out: &mut String) {
        if let Condition::When(text) = self.flexible() {
            line(out, &format!("let flexible = {text};"));
        }
    }

    /// The argument that says whether this field is compact.
    fn flex_argument(&self, field: Option<&Field>) -> &'static str {
        if field.is_some_and(|field| field.never_flexible) {
            return "false";
        }
        match self.flexible() {
            Condition::Always => "true",
            Condition::Never => "false",
            Condition::When(_) => "flexible",
        }
    }

    /// The name that errors show.
    fn label(&self, field: &Field) -> String {
        if self.st.name == self.message.name {
            format!("{:?}", field.name)
        } else {
            format!("\"{}.{}\"", self.st.name, field.name)
        }
    }

    fn read(&self, out: &mut String) {
        self.flex_binding(out);
        let empty = self.st.fields.is_empty() && !self.has_tags();
        line(out, if empty { "let m = Self::default();" } else { "let mut m = Self::default();" });
        for field in self.st.fields.iter().filter(|field| field.tag.is_none()) {
            let assign = format!("m.{} = {};", snake(&field.name), self.read_value(field));
            guarded(out, &self.in_versions(field.versions), &assign);
        }
        if self.has_tags() {
            let mut tags = String::new();
            self.read_tags(&mut tags);
            guarded(out, &self.flexible_by_name(), &tags);
        }
        line(out, "Ok(m)");
    }

    fn flexible_by_name(&self) -> Condition {
        match self.flexible() {
            Condition::When(_) => Condition::When("flexible".to_owned()),
            settled => settled,
        }
    }

    fn read_tags(&self, out: &mut String) {
        let known = self.tagged();
        if known.is_empty() {
            return line(out, "m.unknown_tagged_fields = d.unknown_tags()?;");
        }
        line(
            out,
            "for _ in 0..d.uvarint(\"(tagged fields)\")? {\nlet tag = d.begin_tag()?;\nmatch tag.id {",
        );
        for (tag, field) in known {
            let guard = match self.in_versions(field.versions) {
                Condition::Always => String::new(),
                Condition::Never => continue,
                Condition::When(text) => format!(" if {text}"),
            };
            let _ = writeln!(
                out,
                "{tag}{guard} => m.{} = {},",
                snake(&field.name),
                self.read_value(field)
            );
        }
        line(out, "_ => d.keep_tag(&tag, &mut m.unknown_tagged_fields)?,\n}\nd.end_tag(tag)?;\n}");
    }

    /// Tagged fields by ascending tag.
    fn tagged(&self) -> Vec<(u32, &Field)> {
        let mut tagged: Vec<_> =
            self.st.fields.iter().filter_map(|field| field.tag.map(|tag| (tag, field))).collect();
        tagged.sort_by_key(|&(tag, _)| tag);
        tagged
    }

    fn read_value(&self, field: &Field) -> String {
        let (flexible, label) = (self.flex_argument(Some(field)), self.label(field));
        let optional = match (&field.ty, field.tag) {
            (Type::String, _) => format!("d.string({flexible}, {label})?"),
            (Type::Bytes, _) => format!("d.bytes({flexible}, {label})?"),
            (Type::Records, _) => format!("d.bytes({flexible}, {label})?.map(Records::Bytes)"),
            (Type::Array(_), _) => format!("d.vec(version, {flexible}, {label})?"),
            (Type::Struct(_), Some(_)) if field.null.is_some() => {
                return format!("d.tagged_nullable(version, {flexible}, {label})?");
            }
            (Type::Struct(_), None) if field.null.is_some() => {
                return format!("d.nullable(version, {flexible}, {label})?");
            }
            _ => return format!("Element::read(d, version, {flexible}, {label})?"),
        };
        match field.null.map(|null| self.in_versions(null)) {
            None => format!("{{ let value = {optional}; d.required(value, {label})? }}"),
            Some(Condition::Always) => optional,
            Some(allowed) => {
                format!(
                    "{{ let value = {optional}; d.null_if({}, value, {label})? }}",
                    allowed.text()
                )
            }
        }
    }

    fn write(&self, out: &mut String) {
        self.flex_binding(out);
        for field in self.st.fields.iter().filter(|field| field.tag.is_none()) {
            let (present, write) = (self.in_versions(field.versions), self.write_value(field));
            let absent = (!field.ignorable && !matches!(present, Condition::Always)).then(|| {
                format!(
                    "if {} {{ return Err(e.not_in_version({})); }}",
                    is_set(field),
                    self.label(field)
                )
            });
            match (present, absent) {
                (Condition::Always, _) => line(out, &write),
                (Condition::Never, absent) => line(out, &absent.unwrap_or_default()),
                (Condition::When(text), None) => line(out, &format!("if {text} {{\n{write}\n}}")),
                (Condition::When(text), Some(absent)) => {
                    line(out, &format!("if {text} {{\n{write}\n}} else {absent}"));
                }
            }
        }
        self.write_tags(out);
        line(out, "Ok(())");
    }

    fn write_tags(&self, out: &mut String) {
        let known = self.tagged();
        for (_, field) in known.iter().filter(|(_, field)| !field.ignorable) {
            if let Condition::When(text) = self.in_versions(field.versions) {
                let _ = writeln!(
                    out,
                    "if !({text}) && {} {{ return Err(e.not_in_version({})); }}",
                    is_set(field),
                    self.label(field)
                );
            }
        }
        if !self.has_tags() {
            return;
        }
        let mut tags = String::new();
        if known.is_empty() {
            line(&mut tags, "e.tag_count(0, &self.unknown_tagged_fields);");
            line(&mut tags, "e.unknown_tags(&self.unknown_tagged_fields, 0..=u32::MAX);");
        } else {
            self.write_known_tags(&mut tags, &known);
        }
        guarded(out, &self.flexible_by_name(), &tags);
    }

    fn write_known_tags(&self, out: &mut String, known: &[(u32, &Field)]) {
        for (tag, field) in known {
            let condition = match self.in_versions(field.versions) {
                Condition::When(text) => format!("{text} && ({})", is_set(field)),
                Condition::Always => is_set(field),
                Condition::Never => "false".to_owned(),
            };
            let _ = writeln!(out, "let has_{tag} = {condition};");
        }
        let count: Vec<String> =
            known.iter().map(|(tag, _)| format!("u32::from(has_{tag})")).collect();
        let _ = writeln!(out, "e.tag_count({}, &self.unknown_tagged_fields);", count.join(" + "));
        let mut from = 0;
        for (tag, field) in known {
            if *tag > from {
                let _ = writeln!(
                    out,
                    "e.unknown_tags(&self.unknown_tagged_fields, {from}..={});",
                    tag - 1
                );
            }
            let _ = writeln!(
                out,
                "if has_{tag} {{\nlet open = e.begin_tag({tag});\n{}\ne.end_tag(&open);\n}}",
                self.write_value(field)
            );
            from = *tag;
        }
        let _ = writeln!(out, "e.unknown_tags(&self.unknown_tagged_fields, {from}..=u32::MAX);");
    }

    fn write_value(&self, field: &Field) -> String {
        let (flexible, label) = (self.flex_argument(Some(field)), self.label(field));
        let name = snake(&field.name);
        let Some(null) = field.null else {
            return match &field.ty {
                Type::Array(_) => format!("e.vec(version, {flexible}, &self.{name}, {label})?;"),
                Type::Records => format!("e.records({flexible}, &self.{name}, {label})?;"),
                _ => format!("self.{name}.write(e, version, {flexible}, {label})?;"),
            };
        };
        let allowed = match self.in_versions(null) {
            Condition::Always => String::new(),
            condition => format!("e.allow_null({}, {label})?; ", condition.text()),
        };
        let (some, none) = match (&field.ty, field.tag) {
            (Type::Array(_), _) => (
                format!("e.vec(version, {flexible}, value, {label})?"),
                format!("e.null({flexible})"),
            ),
            (Type::Records, _) => {
                (format!("e.records({flexible}, value, {label})?"), format!("e.null({flexible})"))
            }
            (Type::Bytes, _) => {
                (format!("e.bytes({flexible}, value, {label})?"), format!("e.null({flexible})"))
            }
            (Type::String, _) => (
                format!("e.string({flexible}, value, {label})?"),
                format!("e.null_string({flexible})"),
            ),
            (_, Some(_)) => (
                format!("{{ e.uvarint(1); value.write(e, version, {flexible}, {label})? }}"),
                "e.uvarint(0)".to_owned(),
            ),
            (_, None) => (
                format!("{{ e.i8(1); value.write(e, version, {flexible}, {label})? }}"),
                "e.i8(-1)".to_owned(),
            ),
        };
        format!("match &self.{name} {{\nSome(value) => {some},\nNone => {{ {allowed}{none} }}\n}}")
    }
}

fn guarded(out: &mut String, condition: &Condition, body: &str) {
    match condition {
        Condition::Always => line(out, body),
        Condition::Never => {}
        Condition::When(text) => line(out, &format!("if {text} {{\n{body}\n}}")),
    }
}

fn field_doc(field: &Field) -> String {
    let mut doc = format!("`{}`, versions {}", type_name(&field.ty), range(field.versions));
    if let Some(null) = field.null {
        let _ = write!(doc, ", null in {}", range(null));
    }
    if let Some(default) = &field.default {
        let _ = write!(doc, ", default {default}");
    }
    if let Some(tag) = field.tag {
        let _ = write!(doc, ", tag {tag}");
    }
    doc
}

fn type_name(ty: &Type) -> String {
    match ty {
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("[{}]", type_name(element)),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn rust_type(field: &Field) -> String {
    let ty = bare_type(&field.ty);
    if field.null.is_some() { format!("Option<{ty}>") } else { ty }
}

fn bare_type(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::Int8 => "i8".to_owned(),
        Type::Int16 => "i16".to_owned(),
        Type::Uint16 => "u16".to_owned(),
        Type::Int32 => "i32".to_owned(),
        Type::Uint32 => "u32".to_owned(),
        Type::Int64 => "i64".to_owned(),
        Type::Float64 => "f64".to_owned(),
        Type::String => "ByteString".to_owned(),
        Type::Bytes => "Bytes".to_owned(),
        Type::Uuid => "Uuid".to_owned(),
        Type::Records => "Records".to_owned(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", bare_type(element)),
    }
}

/// Whether `Default::default()` of the field's Rust type is the schema's default.
fn plain_default(field: &Field) -> bool {
    match (&field.null, field.default.as_deref()) {
        (Some(_), Some("null")) => true,
        // Kafka's records default to null wherever they may be null.
        (Some(_), _) => field.ty == Type::Records,
        (None, None | Some("0" | "false" | "\"\"")) => true,
        (None, Some(_)) => false,
    }
}

fn default_value(field: &Field) -> String {
    match (&field.null, field.default.as_deref()) {
        _ if plain_default(field) => "Default::default()".to_owned(),
        // Nullable, but empty by default.
        (Some(_), _) => "Some(Default::default())".to_owned(),
        (None, Some(literal)) => literal.to_owned(),
        (None, None) => "Default::default()".to_owned(),
    }
}

/// The expression that tells whether the field differs from its default.
fn is_set(field: &Field) -> String {
    let name = format!("self.{}", snake(&field.name));
    if field.null.is_some() {
        return match (&field.ty, plain_default(field)) {
            (_, true) => format!("{name}.is_some()"),
            (Type::Struct(_), false) => {
                format!("{name}.as_ref().is_none_or(|value| *value != Default::default())")
            }
            (_, false) => format!("{name}.as_ref().is_none_or(|value| !value.is_empty())"),
        };
    }
    match (&field.ty, field.default.as_deref()) {
        (Type::Bool, Some("true")) => format!("!{name}"),
        (Type::Bool, _) => name,
        (Type::String | Type::Bytes | Type::Array(_) | Type::Records, _) => {
            format!("!{name}.is_empty()")
        }
        (Type::Uuid, _) => format!("!{name}.is_zero()"),
        (Type::Struct(_), _) => format!("{name} != Default::default()"),
        (Type::Float64, _) => format!("{name} != 0.0"),
        (_, default) => format!("{name} != {}", default.unwrap_or("0")),
    }
}

/// The least bytes that a struct takes in any of the message's versions.
fn min_size(message: &Message, st: &Struct) -> usize {
    let Some(valid) = message.valid else { return 0 };
    (valid.min..=valid.max).map(|version| min_size_in(message, st, version)).min().unwrap_or(0)
}

fn min_size_in(message: &Message, st: &Struct, version: i16) -> usize {
    let flexible = message.flexible.is_some_and(|from| version >= from);
    let present = |field: &&Field| {
        field.tag.is_none() && field.versions.min <= version && version <= field.versions.max
    };
    let fields: usize =
        st.fields.iter().filter(present).map(|field| min_field(message, field, version)).sum();
    fields + usize::from(flexible)
}

fn min_field(message: &Message, field: &Field, version: i16) -> usize {
    let flexible = !field.never_flexible && message.flexible.is_some_and(|from| version >= from);
    match &field.ty {
        Type::Bool | Type::Int8 => 1,
        Type::Int16 | Type::Uint16 => 2,
        Type::Int32 | Type::Uint32 => 4,
        Type::Int64 | Type::Float64 => 8,
        Type::Uuid => 16,
        Type::Struct(_) if field.null.is_some() => 1,
        Type::Struct(name) => {
            let inner = message.structs.iter().find(|st| st.name == *name);
            inner.map_or(0, |st| min_size_in(message, st, version))
        }
        _ if flexible => 1,
        Type::String => 2,
        _ => 4,
    }
}
