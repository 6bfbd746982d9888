//! Emits the enums over many messages: API keys and the records of the internal logs.

use std::fmt::Write as _;

use super::schema::{Kind, Message};

/// `enum ApiKey` and the table behind its methods.
pub(crate) fn api_keys(messages: &[Message]) -> String {
    let mut requests: Vec<&Message> =
        messages.iter().filter(|message| message.kind == Kind::Request).collect();
    requests.sort_by_key(|message| message.key);
    let mut variants = String::new();
    let mut rows = String::new();
    for message in &requests {
        let name = message.name.trim_end_matches("Request");
        let key = message.key.unwrap_or(-1);
        let (min, max) = message.valid.map_or((0, -1), |valid| (valid.min, valid.max));
        let _ = writeln!(variants, "/// Key {key}.\n{name} = {key},");
        let _ = writeln!(
            rows,
            "ApiRow {{ key: ApiKey::{name}, name: {name:?}, min: {min}, max: {max}, flexible_from: {:?}, \
             broker: {}, controller: {}, latest_unstable: {} }},",
            message.flexible,
            message.listeners.iter().any(|listener| listener == "broker"),
            message.listeners.iter().any(|listener| listener == "controller"),
            message.latest_unstable,
        );
    }
    format!(
        "/// An API of the protocol, by the key in front of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ApiKey {{
{variants}}}

/// By ascending key.
const ROWS: [ApiRow; {}] = [
{rows}];
",
        requests.len()
    )
}

/// An enum over the metadata records and its codec by type.
pub(crate) fn metadata_records(messages: &[Message]) -> String {
    let doc = "A record of `__cluster_metadata`.";
    record_enum(
        "MetadataRecord",
        doc,
        messages.iter().filter(|message| message.kind == Kind::Metadata),
        "Record",
    )
}

/// `<name>Key` and `<name>Value` over the records of a coordinator's log.
pub(crate) fn coordinator_records(messages: &[Message], name: &str, topic: &str) -> String {
    let of = |kind| messages.iter().filter(move |message: &&Message| message.kind == kind);
    let key_doc = format!("A key of `{topic}`.");
    let value_doc = format!("A value of `{topic}`; its key tells the type.");
    let keys = record_enum(&format!("{name}Key"), &key_doc, of(Kind::CoordinatorKey), "Key");
    keys + &record_enum(&format!("{name}Value"), &value_doc, of(Kind::CoordinatorValue), "Value")
}

fn record_enum<'a>(
    name: &str,
    doc: &str,
    messages: impl Iterator<Item = &'a Message>,
    suffix: &str,
) -> String {
    let mut variants = String::new();
    let mut types = String::new();
    let mut decode = String::new();
    let mut encode = String::new();
    let mut from = String::new();
    let mut inspect = String::new();
    let mut names = String::new();
    for message in messages {
        let (record, key) = (&message.name, message.key.unwrap_or(-1));
        let variant = record.trim_end_matches(suffix);
        let _ = writeln!(variants, "/// Type {key}.\n{variant}({record}),");
        let _ = writeln!(types, "Self::{variant}(_) => ({key}, {record}::VERSIONS),");
        let _ = writeln!(decode, "{key} => {record}::decode(d, version)?.into(),");
        let _ = writeln!(encode, "Self::{variant}(record) => record.encode(e, version),");
        let _ = writeln!(inspect, "Self::{variant}(record) => record.show(to),");
        let _ = writeln!(names, "Self::{variant}(_) => {record}::NAME,");
        let _ = writeln!(
            from,
            "impl From<{record}> for {name} {{ fn from(record: {record}) -> Self {{ Self::{variant}(record) }} }}"
        );
    }
    format!(
        "/// {doc}
#[derive(Debug, Clone, PartialEq)]
pub enum {name} {{
{variants}}}

impl {name} {{
/// The type number, and the versions that exist.
#[must_use]
pub fn type_and_versions(&self) -> (i16, RangeInclusive<i16>) {{
match self {{
{types}}}
}}

/// The schema's name of the record.
#[must_use]
pub fn name(&self) -> &'static str {{
match self {{
{names}}}
}}

/// `None`: no such type.
fn decode_body(record_type: i16, d: &mut Decoder, version: i16) -> Result<Option<Self>, DecodeError> {{
Ok(Some(match record_type {{
{decode}_ => return Ok(None),
}}))
}}

fn encode_body(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {{
match self {{
{encode}}}
}}
}}

impl Inspect for {name} {{
fn show(&self, to: &mut dyn Inspector) {{
match self {{
{inspect}}}
}}
}}

{from}"
    )
}
