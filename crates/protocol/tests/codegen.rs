//! The generator: what it makes of good schema lines, and what it says about bad ones.
#![allow(clippy::indexing_slicing, reason = "a wrong index stops the build, never a broker")]

#[allow(dead_code, reason = "the build script uses the rest")]
#[path = "../codegen/mod.rs"]
mod codegen;

use codegen::emit;
use codegen::names::snake;
use codegen::schema::{self, Kind, Type, Versions};

const HEAD: &str = "request ARequest | key 0 | valid 0-3 | flexible 2+ | listeners broker\n";

#[test]
fn a_message_is_parsed_with_its_nesting_and_attributes() {
    let text = "# comment

response AResponse | key 7 | valid 1-4 | flexible none | latest-unstable
  Items: [Item] | 1+ | ignorable
    Name: string | 1-2 | null 2 | default null | key | entity topicName
  Shared: [Other] | 3+
  Port: uint16 | 0+ | default 0x10
  struct Other | 3+
    Value: float64 | 3+
";
    let messages = schema::parse("a.schema", text).expect("a good schema");
    let [message] = messages.as_slice() else { panic!("one message, found {}", messages.len()) };
    assert_eq!((message.kind, message.key, message.flexible), (Kind::Response, Some(7), None));
    assert_eq!(message.valid, Some(Versions { min: 1, max: 4 }));
    assert!(message.latest_unstable);
    let names: Vec<_> =
        message.structs.iter().map(|st| (st.name.as_str(), st.fields.len())).collect();
    assert_eq!(names, [("AResponse", 3), ("Item", 1), ("Other", 1)]);
    let name = &message.structs[1].fields[0];
    assert_eq!(name.ty, Type::String);
    assert_eq!(name.null, Some(Versions { min: 2, max: 2 }));
    assert_eq!(name.default.as_deref(), Some("null"));
    assert!(message.structs[0].fields[0].ignorable);
}

#[test]
fn bad_lines_are_named_with_their_place_and_reason() {
    let rows: &[(&str, &str)] = &[
        ("reply A | valid 0 | flexible none", "a.schema:1: unknown kind \"reply\""),
        ("request", "a.schema:1: expected a kind and a name, found \"request\""),
        ("request A | valid 0", "a.schema:1: A needs both `valid` and `flexible`"),
        ("request A | valid 3-1 | flexible none", "a.schema:1: versions 3-1 are upside down"),
        (
            "request A | valid 0 | flexible none | loud",
            "a.schema:1: unknown attribute \"loud\" of a message",
        ),
        ("  X: int8 | 0+", "a.schema:1: a field before the first message"),
        ("@  X int8 | 0+", "a.schema:2: expected `Name: type`, found \"X int8\""),
        ("@  X: int8", "a.schema:2: field X has no versions"),
        ("@  X: int9 | 0+", "a.schema:2: unknown type \"int9\""),
        ("@  X: [[int8]] | 0+", "a.schema:2: [[int8]]: arrays of arrays or records do not exist"),
        ("@  X y: int8 | 0+", "a.schema:2: \"X y\" is not a name"),
        ("@  X: int8 | one", "a.schema:2: expected a number, found \"one\""),
        ("@  X: int8 | 0+ | default red", "a.schema:2: field X cannot have the default red"),
        ("@  X: string | 0+ | default null", "a.schema:2: field X cannot have the default null"),
        ("@  X: int8 | 0+ | shiny", "a.schema:2: unknown attribute \"shiny\" of field X"),
        (
            "@  X: int8 | 0+ | tag 0 1+",
            "a.schema:2: X: a field is tagged in all its versions or in none",
        ),
        ("@    X: int8 | 0+", "a.schema:2: indented by 4, expected 2"),
        ("@ X: int8 | 0+", "a.schema:2: indented by less than 2"),
        ("@  X: int8 | 0+\n  X: int8 | 0+", "a.schema:3: a second field X"),
        (
            "@  X: [Y] | 0+\n    A: int8 | 0+\n  Z: Y | 0+\n    A: int8 | 0+",
            "a.schema:4: a second struct Y",
        ),
        ("@  X: [Y] | 0+", "a.schema: ARequest: ARequest.X has the unknown type Y"),
        (
            "@  X: int8 | 2+ | tag 0 2+\n  Y: int8 | 2+ | tag 0 2+",
            "a.schema: ARequest: ARequest has one tag twice",
        ),
        (
            "@  X: int8 | 1+ | tag 0 1+",
            "a.schema: ARequest: ARequest.X is tagged in a version that is not flexible",
        ),
        ("@  X: [Y] | 0+\n    Z: [Y] | 0+", "a.schema: ARequest: a struct contains itself"),
    ];
    for (text, want) in rows {
        let text = text.replacen('@', HEAD, 1);
        let error = schema::parse("a.schema", &text).expect_err(&text);
        assert_eq!(error.to_string(), *want, "{text}");
    }
}

#[test]
fn names_become_snake_case() {
    for (name, want) in [
        ("TopicData", "topic_data"),
        ("timeoutMs", "timeout_ms"),
        ("KRaftVersionFeature", "kraft_version_feature"),
        ("V3AndBelowTopics", "v3_and_below_topics"),
        ("HTTPHost", "http_host"),
        ("Type", "type_"),
    ] {
        assert_eq!(snake(name), want);
    }
}

#[test]
fn conditions_settled_by_the_valid_versions_are_not_emitted() {
    let text =
        format!("{HEAD}  X: int8 | 0+\n  Y: int8 | 1+ | ignorable\n  Z: int8 | 7+ | ignorable\n");
    let code = emit::messages(&schema::parse("a.schema", &text).expect("a good schema"));
    assert!(code.contains("\nm.x = "), "{code}");
    assert!(code.contains("if version >= 1 {\nm.y = "), "{code}");
    assert!(!code.contains("m.z = "), "{code}");
}
