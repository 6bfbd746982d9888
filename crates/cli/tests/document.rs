//! The session recorded in docs/COMMAND.md, run again: the same commands print the same, but for
//! what differs from run to run. `OTTLA_BLESS=1` records it anew.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads the documentation"
)]

mod support;

use std::path::PathBuf;
use std::process::Command;

use regex::Regex;
use support::{node, run_command, scratch};

const BEGIN: &str = "```console\n";
const END: &str = "```\n";

#[test]
fn the_session_in_the_documentation_is_what_the_commands_print() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/COMMAND.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let home = scratch("session");
    let mut new = String::new();
    let mut rest = page.as_str();
    while let Some((before, block)) = rest.split_once(BEGIN) {
        let (block, after) = block.split_once(END).unwrap();
        new.push_str(before);
        new.push_str(BEGIN);
        for step in block.split("$ ").filter(|step| !step.is_empty()) {
            let command = step.lines().next().unwrap();
            let got = printed(command, &home);
            let want = step.split_once('\n').map_or("", |(_, output)| output);
            if std::env::var_os("OTTLA_BLESS").is_none() {
                assert_eq!(masked(&got), masked(want.trim_end()), "$ {command}");
            }
            new.push_str(&format!("$ {command}\n{}\n\n", got.trim_end()));
        }
        new.truncate(new.trim_end().len());
        new.push('\n');
        new.push_str(END);
        rest = after;
    }
    new.push_str(rest);
    if std::env::var_os("OTTLA_BLESS").is_some() {
        std::fs::write(path, new).unwrap();
    }
}

/// What a line of a shell prints, with the address that readers have.
fn printed(line: &str, home: &PathBuf) -> String {
    let mut command = Command::new("bash");
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_ottla"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    command.args(["-c", &format!("{line} 2>&1")]);
    command.env("PATH", path).env("OTTLA_BROKERS", &node().address).env("XDG_DATA_HOME", home);
    command.current_dir(home);
    let done = run_command(command, b"");
    done.out.replace(&node().address, "localhost:9092").trim_end().to_owned()
}

/// Without what differs from run to run, and without the widths of columns.
fn masked(text: &str) -> String {
    let masks = [
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
        (r"\b\d{13}\b", "TIME"),
        (r"\b[A-Za-z0-9_-]{22}\b", "ID"),
        (r"\d+(\.\d+)? ms", "MS"),
        (r"\d+(\.\d+)? (B|KiB|MiB|GiB|TiB)", "SIZE"),
        (r"limit \S+, can be raised to \S+", "LIMIT"),
        (r"(?m)^(ok|WARNING) +(fsync|space|memory|open files|clock) .*$", "$2"),
        (r"(?m)^(fsync|space|memory|open files|clock): .*$", ""),
        (r"Everything is well\.", ""),
        (r"[ \t]+", " "),
        (r"\n\n+", "\n"),
    ];
    let mut text = text.trim_end().to_owned();
    for (pattern, name) in masks {
        text = Regex::new(pattern).unwrap().replace_all(&text, name).into_owned();
    }
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}
