//! Progress of long work, on a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error; nothing at all where that is no terminal.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// No bar.
    pub(crate) fn none() -> Self {
        Self(ProgressBar::hidden())
    }

    /// For `total` bytes.
    pub(crate) fn of_bytes(total: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::none();
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let form = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        match ProgressStyle::with_template(form) {
            Ok(style) => bar.set_style(style),
            Err(error) => debug_assert!(false, "{error}"),
        }
        Self(bar)
    }

    /// For `total` steps of some kind; a bar only if the output itself goes elsewhere.
    pub(crate) fn of_count(total: u64) -> Self {
        if !std::io::stderr().is_terminal() || std::io::stdout().is_terminal() {
            return Self::none();
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        match ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} {per_sec} {eta}") {
            Ok(style) => bar.set_style(style),
            Err(error) => debug_assert!(false, "{error}"),
        }
        Self(bar)
    }

    /// For a file on standard input; what comes through a pipe has no known end.
    pub(crate) fn of_input() -> Self {
        let file = rustix::fs::fstat(std::io::stdin()).ok();
        let regular = file.filter(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
        });
        match regular.and_then(|stat| u64::try_from(stat.st_size).ok()) {
            Some(size) => Self::of_bytes(size),
            None => Self::none(),
        }
    }

    /// So much more is done.
    pub(crate) fn add(&mut self, done: u64) {
        self.0.inc(done);
    }

    /// Takes the bar away.
    pub(crate) fn finish(&mut self) {
        self.0.finish_and_clear();
    }
}
