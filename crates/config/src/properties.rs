//! Java's `.properties` format: `server.properties`, `meta.properties`.
//!
//! As `java.util.Properties` reads it: comments start with `#` or `!`, key and value are separated
//! by `=`, `:` or white space, a trailing backslash continues the line, `\t \n \r \f \uXXXX` are
//! escapes and a backslash before any other character stands for that character. The text is UTF-8
//! (Java reads Latin-1; both agree on ASCII). A later line wins.

use crate::error::ConfigError;

/// Key, value and the line they start on, in file order, repetitions included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Property {
    /// The key, unescaped.
    pub key: String,
    /// The value, unescaped; empty when there is none.
    pub value: String,
    /// Number of its first line, from 1.
    pub line: usize,
}

/// Reads a whole file.
///
/// # Errors
/// A `\u` escape is malformed; the error names the line.
pub fn parse(text: &str) -> Result<Vec<Property>, ConfigError> {
    let mut properties = Vec::new();
    let mut lines = split_lines(text).enumerate();
    while let Some((index, first)) = lines.next() {
        let first = trim_start(first);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while continues(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(trim_start(next)),
                None => break,
            }
        }
        let line = index + 1;
        let (key, value) = separate(&logical);
        let (key, value) = (unescape(key, line)?, unescape(value, line)?);
        properties.push(Property { key, value, line });
    }
    Ok(properties)
}

/// Renders pairs as a file that [`parse`] and Java read back as the same pairs, one line each, in
/// the order given. Characters outside printable ASCII become `\uXXXX`.
pub fn render<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        escape(key, true, &mut text);
        text.push('=');
        escape(value, false, &mut text);
        text.push('\n');
    }
    text
}

/// Natural lines end with `\n`, `\r` or `\r\n`.
fn split_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

fn trim_start(line: &str) -> &str {
    line.trim_start_matches([' ', '\t', '\x0c'])
}

/// An odd number of backslashes at the end continues the line.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// Splits at the first unescaped separator.
fn separate(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|&(_, c)| {
            let ends = !escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\x0c');
            escaped = !escaped && c == '\\';
            ends
        })
        .map_or(line.len(), |(at, _)| at);
    let (key, rest) = line.split_at(end);
    let rest = trim_start(rest);
    (key, trim_start(rest.strip_prefix(['=', ':']).unwrap_or(rest)))
}

fn unescape(text: &str, line: usize) -> Result<String, ConfigError> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            push(&mut units, c);
            continue;
        }
        match chars.next() {
            // A backslash at the very end of the file stands for nothing.
            None => {}
            Some('t') => push(&mut units, '\t'),
            Some('n') => push(&mut units, '\n'),
            Some('r') => push(&mut units, '\r'),
            Some('f') => push(&mut units, '\x0c'),
            Some('u') => units.push(unicode_escape(&mut chars, line)?),
            Some(other) => push(&mut units, other),
        }
    }
    // Java writes characters beyond 16 bits as two escapes, a surrogate pair.
    String::from_utf16(&units).map_err(|_| ConfigError::Syntax {
        line,
        problem: "half of a surrogate pair stands alone among the \\u escapes".to_owned(),
    })
}

fn unicode_escape(chars: &mut std::str::Chars<'_>, line: usize) -> Result<u16, ConfigError> {
    let digits: String = chars.take(4).collect();
    let valid = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    u16::from_str_radix(&digits, 16).ok().filter(|_| valid).ok_or_else(|| ConfigError::Syntax {
        line,
        problem: format!("four hexadecimal digits are expected after \\u, not {digits:?}"),
    })
}

fn push(units: &mut Vec<u16>, c: char) {
    units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
}

fn escape(text: &str, key: bool, into: &mut String) {
    for (at, c) in text.chars().enumerate() {
        match c {
            '\t' => into.push_str("\\t"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\x0c' => into.push_str("\\f"),
            ' ' if key || at == 0 => into.push_str("\\ "),
            '=' | ':' | '#' | '!' | '\\' => {
                into.push('\\');
                into.push(c);
            }
            ' '..='~' => into.push(c),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    into.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().map(|p| (p.key, p.value)).collect()
    }

    #[test]
    fn reads_what_java_reads() {
        for (text, key, value) in [
            ("a=b", "a", "b"),
            ("a = b ", "a", "b "),
            ("a:b", "a", "b"),
            ("a b", "a", "b"),
            ("a\t=\tb", "a", "b"),
            ("a", "a", ""),
            ("a=", "a", ""),
            ("  a=b", "a", "b"),
            ("a==b", "a", "=b"),
            ("a\\=b=c", "a=b", "c"),
            ("a\\ b=c", "a b", "c"),
            ("a=b\\\n   c", "a", "bc"),
            ("a=b\\\\", "a", "b\\"),
            ("a=b\\", "a", "b"),
            ("a=\\u00e9\\t\\q", "a", "é\tq"),
            ("a=\\uD83D\\uDE00", "a", "😀"),
            ("a=é", "a", "é"),
            ("a=b\r\n", "a", "b"),
            ("# c\n! c\n\na=#b", "a", "#b"),
        ] {
            assert_eq!(pairs(text), [(key.to_owned(), value.to_owned())], "{text:?}");
        }
    }

    #[test]
    fn an_error_names_the_line() {
        let error = parse("a=b\nc=\\\n\\u12g4").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2: four hexadecimal digits are expected after \\u, not \"12g4\""
        );
        assert!(parse("a=\\uD83D").unwrap_err().to_string().starts_with("line 1: "));
    }

    #[test]
    fn lines_count_continuations() {
        let lines: Vec<usize> = parse("a=\\\n1\n\nb=2").unwrap().iter().map(|p| p.line).collect();
        assert_eq!(lines, [1, 4]);
    }

    proptest! {
        #[test]
        fn what_is_rendered_reads_back(key in "\\PC+", value in any::<String>()) {
            prop_assume!(!key.is_empty());
            let text = render([(key.as_str(), value.as_str())]);
            prop_assert_eq!(pairs(&text), [(key, value)]);
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
