//! What a command prints: a table for people, JSON or YAML for programs.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use clap::ValueEnum;
use serde_json::Value;

use crate::failure::{Outcome, output_error};

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON document; of records, one object a line
    Json,
    /// One YAML document
    Yaml,
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) format: Format,
    to: BufWriter<Stdout>,
    /// Somebody watches: every line goes out at once.
    live: bool,
}

impl Out {
    pub(crate) fn new(format: Format) -> Self {
        let stdout = io::stdout();
        let live = stdout.is_terminal();
        Self { format, to: BufWriter::with_capacity(64 << 10, stdout), live }
    }

    /// Prints a list: a table of the named members of each row, or the rows as they are.
    pub(crate) fn rows(&mut self, columns: &[&str], rows: Vec<Value>) -> Outcome {
        match self.format {
            Format::Table => self.text(&table(columns, &rows)),
            _ => self.value(&Value::Array(rows)),
        }
    }

    /// Prints `text` for people, `value` for programs.
    pub(crate) fn report(&mut self, value: &Value, text: impl FnOnce() -> String) -> Outcome {
        match self.format {
            Format::Table => self.text(&text()),
            _ => self.value(value),
        }
    }

    /// Prints text that ends with a newline, or gets one.
    pub(crate) fn text(&mut self, text: &str) -> Outcome {
        if text.is_empty() {
            return Ok(());
        }
        self.raw(text.as_bytes())?;
        if text.ends_with('\n') { self.end_line() } else { self.line("") }
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, text: &str) -> Outcome {
        self.raw(text.as_bytes())?;
        self.raw(b"\n")?;
        self.end_line()
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Outcome {
        self.to.write_all(bytes).map_err(|error| output_error(&error))
    }

    /// After a line: shows it if somebody watches.
    pub(crate) fn end_line(&mut self) -> Outcome {
        if self.live { self.flush() } else { Ok(()) }
    }

    /// Hands everything to the operating system.
    pub(crate) fn flush(&mut self) -> Outcome {
        self.to.flush().map_err(|error| output_error(&error))
    }

    /// Prints one of many items: an object a line, or an item of a YAML list.
    pub(crate) fn item(&mut self, value: &Value) -> Outcome {
        if self.format != Format::Yaml {
            return self.line(&value.to_string());
        }
        let mut text = String::new();
        yaml(&Value::Array(vec![value.clone()]), 0, &mut text);
        self.text(&text)
    }

    fn value(&mut self, value: &Value) -> Outcome {
        match self.format {
            Format::Yaml => {
                let mut text = String::new();
                yaml(value, 0, &mut text);
                self.text(&text)
            }
            _ => {
                let text = serde_json::to_string_pretty(value).unwrap_or_default();
                self.line(&text)
            }
        }
    }
}

/// Columns of equal width; numbers to the right. The header is the member's name.
pub(crate) fn table(columns: &[&str], rows: &[Value]) -> String {
    let header: Vec<String> =
        columns.iter().map(|name| name.to_uppercase().replace('_', "-")).collect();
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|name| cell(row.get(*name))).collect()).collect();
    let width = |at: usize| {
        let all = cells.iter().chain([&header]).filter_map(|row| row.get(at));
        all.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let right: Vec<bool> = columns
        .iter()
        .map(|name| {
            let mut values = rows.iter().filter_map(|row| row.get(*name));
            let mut numbers = false;
            let all = values.all(|value| {
                numbers |= value.is_number();
                value.is_number() || value.is_null()
            });
            all && numbers
        })
        .collect();
    let mut text = String::new();
    for row in std::iter::once(&header).chain(&cells) {
        let mut line = String::new();
        for ((cell, width), right) in row.iter().zip(&widths).zip(&right) {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) = if *right { (pad.as_str(), "") } else { ("", pad.as_str()) };
            line.push_str(before);
            line.push_str(cell);
            line.push_str(after);
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A value in a cell.
pub(crate) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        Some(Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|item| cell(Some(item))).collect();
            if items.is_empty() { "-".to_owned() } else { items.join(",") }
        }
        Some(Value::Object(members)) => {
            let members: Vec<_> =
                members.iter().map(|(key, value)| format!("{key}={}", cell(Some(value)))).collect();
            if members.is_empty() { "-".to_owned() } else { members.join(" ") }
        }
        Some(number) => number.to_string(),
    }
}

/// A value in block style, beginning in a column of its own.
fn yaml(value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&pad);
                out.push_str("- ");
                let mut inner = String::new();
                yaml(item, indent + 2, &mut inner);
                out.push_str(inner.trim_start_matches(' '));
            }
        }
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                out.push_str(&pad);
                out.push_str(&scalar(key));
                let nested = match value {
                    Value::Array(items) => !items.is_empty(),
                    Value::Object(members) => !members.is_empty(),
                    _ => false,
                };
                if nested {
                    out.push_str(":\n");
                    yaml(value, indent + 2, out);
                } else {
                    out.push_str(": ");
                    yaml(value, 0, out);
                }
            }
        }
        Value::Array(_) => out.push_str(&format!("{pad}[]\n")),
        Value::Object(_) => out.push_str(&format!("{pad}{{}}\n")),
        Value::String(text) => out.push_str(&format!("{pad}{}\n", scalar(text))),
        other => out.push_str(&format!("{pad}{other}\n")),
    }
}

/// A string, in quotes unless it can only be read as this string.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "y" | "yes" | "n" | "no" | "true" | "false" | "on" | "off" | "null"
        );
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}

/// Bytes as people count them.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_columns_of_equal_width_and_numbers_to_the_right() {
        let rows = [
            json!({"topic": "a", "end_offset": 1, "isr": [1, 2], "ok": true}),
            json!({"topic": "longer", "end_offset": 1000, "isr": [], "ok": null}),
        ];
        let want = "\
TOPIC   END-OFFSET  ISR  OK
a                1  1,2  yes
longer        1000  -    -
";
        assert_eq!(table(&["topic", "end_offset", "isr", "ok"], &rows), want);
        assert_eq!(table(&["a", "b"], &[]), "A  B\n");
    }

    #[test]
    fn yaml_quotes_what_would_be_read_as_something_else() {
        let value =
            json!([{"name": "a-b", "id": "12", "no": "yes", "x": [], "y": {"k": [1, null]}}]);
        let mut text = String::new();
        yaml(&value, 0, &mut text);
        let want = "\
- name: a-b
  id: \"12\"
  \"no\": \"yes\"
  x: []
  \"y\":
    k:
      - 1
      - null
";
        assert_eq!(text, want);
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(show_bytes(1023), "1023 B");
        assert_eq!(show_bytes(1536), "1.5 KiB");
        assert_eq!(show_bytes(5 << 30), "5.0 GiB");
    }
}
