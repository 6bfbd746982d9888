//! What happened in a run: a hash of it always, its text on request.

use std::collections::VecDeque;
use std::fmt::{self, Write};

/// Most lines kept for a report.
const LINES_MAX: usize = 200;

/// A run's events in order.
pub(crate) struct Trace {
    hash: Fnv,
    events: u64,
    /// Print every event.
    print: bool,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    pub(crate) fn new(print: bool, keep: bool) -> Self {
        let lines = keep.then(VecDeque::new);
        Self { hash: Fnv(0xcbf2_9ce4_8422_2325), events: 0, print, lines }
    }

    /// Notes an event.
    pub(crate) fn note(&mut self, at: u64, what: fmt::Arguments<'_>) {
        self.events += 1;
        let _never = writeln!(self.hash, "{at} {what}");
        if self.print || self.lines.is_some() {
            let line = format!("{:>10}.{:03} ms  {what}", at / 1000, at % 1000);
            if self.print {
                println!("{line}");
            }
            if let Some(lines) = &mut self.lines {
                lines.push_back(line);
                if lines.len() > LINES_MAX {
                    lines.pop_front();
                }
            }
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.0
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.lines.take().map(Vec::from).unwrap_or_default()
    }
}

struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}
