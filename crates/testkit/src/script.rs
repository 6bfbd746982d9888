//! Scripted tests: a text file of commands and the output they must give.

use std::fmt::Write as _;
use std::path::Path;

/// Runs the script at `path`: blocks of command lines, a line `----`, the expected output, and an
/// empty line. Lines starting with `#` before a block are comments. `run` gets a block's command
/// lines joined by newlines and gives its output, without empty lines.
///
/// With `OTTLA_BLESS=1` in the environment the file is rewritten with the output that came.
///
/// # Panics
/// When an output differs (all blocks are run first), or the file cannot be read or parsed.
pub fn run_script(path: impl AsRef<Path>, mut run: impl FnMut(&str) -> String) {
    let path = path.as_ref();
    let text = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("cannot read the script {}: {error}", path.display()));
    let blocks = parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut blessed = String::new();
    let mut differences = String::new();
    for block in &blocks {
        for comment in &block.before {
            let _ = writeln!(blessed, "{comment}");
        }
        if block.command.is_empty() {
            continue;
        }
        let got = run(&block.command).trim_end().to_owned();
        assert!(
            !got.lines().any(str::is_empty),
            "{}:{}: the output holds an empty line, which the format cannot show:\n{got}",
            path.display(),
            block.line
        );
        if got != block.expected {
            let _ = writeln!(
                differences,
                "{}:{}:\n{}\n---- expected\n{}\n---- got\n{got}\n",
                path.display(),
                block.line,
                block.command,
                block.expected
            );
        }
        let newline = if got.is_empty() { "" } else { "\n" };
        let _ = writeln!(blessed, "{}\n----\n{got}{newline}", block.command);
    }
    if std::env::var_os("OTTLA_BLESS").is_some_and(|value| value == "1") {
        write(path, blessed.trim_end());
    } else {
        assert!(differences.is_empty(), "OTTLA_BLESS=1 accepts this:\n{differences}");
    }
}

#[allow(clippy::disallowed_methods, reason = "rewrites a script on the developer's request")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, format!("{text}\n"))
        .unwrap_or_else(|error| panic!("cannot write the script {}: {error}", path.display()));
}

#[derive(Debug, Default)]
struct Block {
    /// Comments and empty lines before the command.
    before: Vec<String>,
    /// Line number of the command, from 1.
    line: usize,
    command: String,
    expected: String,
}

fn parse(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while lines.peek().is_some() {
        let mut block = Block::default();
        while let Some((_, line)) = lines.next_if(|(_, l)| l.is_empty() || l.starts_with('#')) {
            block.before.push(line.to_owned());
        }
        let mut command = Vec::new();
        let mut divided = false;
        for (number, line) in lines.by_ref() {
            if command.is_empty() {
                block.line = number + 1;
            }
            if line == "----" {
                divided = true;
                break;
            }
            if line.is_empty() {
                return Err(format!("line {}: an empty line inside a command", number + 1));
            }
            command.push(line);
        }
        if !command.is_empty() && !divided {
            return Err(format!("line {}: the command has no ---- line", block.line));
        }
        let mut expected = Vec::new();
        for (_, line) in lines.by_ref() {
            if line.is_empty() {
                break;
            }
            expected.push(line);
        }
        block.command = command.join("\n");
        block.expected = expected.join("\n");
        blocks.push(block);
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_comments_commands_and_output_apart() {
        let blocks = parse("# why\n\na 1\nb\n----\nout\nmore\n\nc\n----\n\nd\n----\nx\n").unwrap();
        let shown: Vec<_> =
            blocks.iter().map(|b| (b.line, b.command.as_str(), b.expected.as_str())).collect();
        assert_eq!(shown, [(3, "a 1\nb", "out\nmore"), (9, "c", ""), (12, "d", "x")]);
        assert_eq!(blocks[0].before, ["# why", ""]);
        for bad in ["a\n", "a\n\n----\n"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
