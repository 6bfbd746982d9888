//! `docs/reference/configs.md`, made from the rows.

use std::fmt::Write as _;

use crate::def::{Default, KeyDef};
use crate::keys::{AREAS, Kind};
use crate::quota::QuotaEntity;

const HEAD: &str = "# Configuration keys

Made from the rows in `crates/config/src/keys`; do not edit, run
`OTTLA_BLESS=1 cargo test -p ottla-config`.

*Update* says how a broker key changes: `read-only` in the file before a start, `per-broker` for one
broker id at run time, `cluster-wide` for all brokers or one. *Ottla* says what happens with a key:
`read` is there for code to act on, `not yet` is accepted and reported without effect so far, `no effect` tunes a
part of the JVM broker that does not exist here, `refused` stops the start rather than be ignored.
";

/// The whole page.
pub fn reference_markdown() -> String {
    let mut page = HEAD.to_owned();
    for (title, rows) in AREAS {
        table(&mut page, title, rows.iter());
    }
    for (kind, title) in [
        (Kind::Topic, "Keys of a topic"),
        (Kind::Group, "Keys of a group"),
        (Kind::ClientMetrics, "Keys of a client metrics subscription"),
    ] {
        table(&mut page, title, kind.keys());
    }
    table(&mut page, "Quotas of users and clients", QuotaEntity::UserOrClient.keys().iter());
    table(&mut page, "Quotas of addresses", QuotaEntity::Ip.keys().iter());
    page
}

fn table<'a>(page: &mut String, title: &str, rows: impl Iterator<Item = &'a KeyDef>) {
    page.push_str("\n## ");
    page.push_str(title);
    page.push_str("\n\n| key | type | default | values | update | Ottla | meaning |\n");
    page.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for row in rows.filter(|row| !row.internal) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {} | {}{} |",
            row.name,
            row.ty.name().to_ascii_lowercase(),
            default(row),
            row.valid.to_string().replace('|', "\\|"),
            row.update.name(),
            row.support.name(),
            row.doc.replace('|', "\\|"),
            spellings(row),
        );
    }
}

fn default(row: &KeyDef) -> String {
    match row.default {
        Default::Required => "required".to_owned(),
        Default::Null => "none".to_owned(),
        Default::Is("") => "empty".to_owned(),
        Default::Is(text) => format!("`{text}`"),
    }
}

/// Where the default comes from, when that is another key.
fn spellings(row: &KeyDef) -> String {
    let others: Vec<String> =
        row.synonyms.iter().filter(|n| **n != row.name).map(|n| format!("`{n}`")).collect();
    if others.is_empty() || row.synonyms.contains(&row.name) {
        return String::new();
    }
    format!(" Default from {}.", others.join(", then "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/configs.md");

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test that compares and rewrites a page")]
    fn the_reference_page_is_what_the_rows_say() {
        let made = reference_markdown();
        if std::env::var_os("OTTLA_BLESS").is_some() {
            std::fs::create_dir_all(std::path::Path::new(PAGE).parent().unwrap()).unwrap();
            std::fs::write(PAGE, &made).unwrap();
        }
        let committed = std::fs::read_to_string(PAGE).unwrap_or_default();
        assert!(committed == made, "run OTTLA_BLESS=1 cargo test -p ottla-config");
    }
}
