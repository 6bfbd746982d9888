//! Figures of turns, and the table that compares two brokers.

use std::fmt::{self, Write};

/// What one turn of one broker gave.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// Transactions committed.
    pub(crate) transactions: usize,
    /// The same per second.
    pub(crate) per_second: f64,
    /// CPU of the broker per transaction, in microseconds.
    pub(crate) cpu_us: Option<f64>,
    /// From EndTxn to its answer: median, 99 %, 99.9 %, in milliseconds.
    pub(crate) commit_ms: [f64; 3],
    /// Requests that the broker asked to be sent again.
    pub(crate) retries: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999] = self.commit_ms;
        write!(f, "{} transactions, {:.0}/s", self.transactions, self.per_second)?;
        if let Some(cpu) = self.cpu_us {
            write!(f, ", {cpu:.0} us CPU each")?;
        }
        write!(f, ", commit p50 {p50:.2} p99 {p99:.2} p99.9 {p999:.2} ms, {} retries", self.retries)
    }
}

/// Minimum, median and maximum of each figure, and the median of the ratios round by round.
pub(crate) fn table(title: &str, sides: &[(&str, Vec<Figures>)]) -> String {
    type Pick = fn(&Figures) -> Option<f64>;
    let rows: [(&str, Pick); 5] = [
        ("transactions per second", |f| Some(f.per_second)),
        ("CPU per transaction, us", |f| f.cpu_us),
        ("commit p50, ms", |f| f.commit_ms.first().copied()),
        ("commit p99, ms", |f| f.commit_ms.get(1).copied()),
        ("commit p99.9, ms", |f| f.commit_ms.get(2).copied()),
    ];
    let mut text = format!("\n{title}: minimum / median / maximum\n");
    for (name, pick) in rows {
        let values: Vec<Vec<f64>> =
            sides.iter().map(|(_, turns)| turns.iter().filter_map(pick).collect()).collect();
        let _ = write!(text, "  {name:26}");
        for ((side, _), values) in sides.iter().zip(&values) {
            let _ = write!(text, "  {side} {}", spread(values));
        }
        if let [ours, theirs] = values.as_slice() {
            let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
            let _ = write!(text, "  ratio {:.2}", median(&ratios));
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

fn spread(values: &[f64]) -> String {
    let min = values.iter().copied().fold(f64::INFINITY, f64::min);
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.is_empty() {
        return "-".to_owned();
    }
    format!("{min:.2} / {:.2} / {max:.2}", median(values))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_taken_round_by_round() {
        let turn = |per_second, cpu_us| Figures {
            transactions: 1,
            per_second,
            cpu_us: Some(cpu_us),
            commit_ms: [1.0, 2.0, 3.0],
            retries: 0,
        };
        let sides = [
            ("broker", vec![turn(10.0, 100.0), turn(20.0, 300.0), turn(30.0, 500.0)]),
            ("versus", vec![turn(10.0, 400.0), turn(40.0, 600.0), turn(30.0, 500.0)]),
        ];
        let table = table("commits", &sides);
        assert!(table.contains("broker 100.00 / 300.00 / 500.00"), "{table}");
        assert!(table.contains("versus 400.00 / 500.00 / 600.00  ratio 0.50"), "{table}");
    }
}
