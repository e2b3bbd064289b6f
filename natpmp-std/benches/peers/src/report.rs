//! The tables, and the page they go into.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::peers::is_ours;

/// The tables, in the order of the page.
#[derive(Default)]
pub struct Report(Vec<Table>);

pub struct Table {
    title: String,
    /// What was done, and what the figures mean.
    note: String,
    columns: Vec<&'static str>,
    rows: Vec<Row>,
}

/// A client, and a cell for each column.
struct Row {
    name: String,
    cells: Vec<Cell>,
}

/// A figure; less is better.
pub struct Cell {
    text: String,
    /// What it is compared by; `None` if it cannot be compared.
    value: Option<f64>,
}

impl Table {
    pub fn new(title: impl Into<String>, columns: &[&'static str], note: impl Into<String>) -> Self {
        Self { title: title.into(), note: note.into(), columns: columns.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, name: impl Into<String>, cells: Vec<Cell>) {
        self.rows.push(Row { name: name.into(), cells });
    }

    /// Each figure with its ratio to that of the first row, which is ours; then where a peer has less than one of ours.
    fn write(&self, page: &mut String) {
        let _ = write!(page, "### {}\n\n{}\n\n| |", self.title, self.note);
        self.columns.iter().for_each(|column| write!(page, " {column} |").expect("a string takes all"));
        let _ = write!(page, "\n| --- |{}\n", " --- |".repeat(self.columns.len()));
        for (number, row) in self.rows.iter().enumerate() {
            let _ = write!(page, "| {} |", row.name);
            for (column, cell) in row.cells.iter().enumerate() {
                let base = self.rows[0].cells[column].value.filter(|base| number > 0 && *base > 0.0);
                let ratio = base.and_then(|base| Some(format!(" ({})", times(cell.value? / base))));
                let _ = write!(page, " {}{} |", cell.text, ratio.unwrap_or_default());
            }
            page.push('\n');
        }
        let lines: Vec<String> = (0..self.columns.len()).filter_map(|column| self.behind(column)).collect();
        if !lines.is_empty() {
            let _ = write!(page, "\n**A peer is ahead**: {}.\n", lines.join("; "));
        }
        page.push('\n');
    }

    /// Which peers have less than one of ours, and than which: the best of ours may be another one than the usual one.
    fn behind(&self, column: usize) -> Option<String> {
        let values = |ours: bool| {
            let rows = self.rows.iter().filter(move |row| is_ours(&row.name) == ours);
            rows.filter_map(move |row| Some((row.name.as_str(), row.cells[column].value?)))
        };
        let ahead: Vec<_> = values(false)
            .filter_map(|(peer, value)| {
                let slower = values(true).filter(|(_, ours)| value < ours * 0.95);
                let slower: Vec<_> =
                    slower.map(|(name, ours)| format!("{} of what {name} takes", times(value / ours))).collect();
                (!slower.is_empty()).then(|| format!("{peer} takes {}", slower.join(" and ")))
            })
            .collect();
        (!ahead.is_empty()).then(|| format!("{}: {}", self.columns[column], ahead.join(", ")))
    }
}

impl Report {
    pub fn add(&mut self, table: Table) {
        let mut text = String::new();
        table.write(&mut text);
        println!("{text}");
        self.0.push(table);
    }

    pub fn extend(&mut self, tables: Vec<Table>) {
        tables.into_iter().for_each(|table| self.add(table));
    }

    /// Replaces what is between the marks of a page; one that does not exist is nothing but that.
    pub fn write(&self, page: &Path, heading: &str) {
        let text = std::fs::read_to_string(page).unwrap_or_else(|_| format!("{BEGIN}\n{END}\n"));
        let (before, rest) = text.split_once(BEGIN).expect("the page has the mark of the beginning");
        let (_, after) = rest.split_once(END).expect("the page has the mark of the end");
        let mut tables = String::new();
        self.0.iter().for_each(|table| table.write(&mut tables));
        let text = format!("{before}{BEGIN}\n{heading}{}\n{tables}{END}{after}", machine());
        std::fs::write(page, text).expect("the page is written");
        eprintln!("written: {}", page.display());
    }
}

impl Cell {
    pub fn time(time: Duration) -> Self {
        Self::seconds(time.as_secs_f64())
    }

    pub fn seconds(seconds: f64) -> Self {
        let text = match seconds {
            ..1e-6 => format!("{:.1} ns", seconds * 1e9),
            ..1e-3 => format!("{:.1} µs", seconds * 1e6),
            ..1.0 => format!("{:.1} ms", seconds * 1e3),
            _ => format!("{seconds:.2} s"),
        };
        Self { text, value: Some(seconds) }
    }

    pub fn count(count: u64) -> Self {
        Self { text: thousands(count), value: Some(count as f64) }
    }

    pub fn kib(bytes: u64) -> Self {
        Self { text: format!("{} KiB", thousands(bytes.div_ceil(1_024))), value: Some(bytes as f64) }
    }

    /// That is not compared.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), value: None }
    }

    pub fn with(self, remark: &str) -> Self {
        Self { text: format!("{}{remark}", self.text), ..self }
    }

    pub fn not_measured() -> Self {
        Self::text("–")
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Of an odd number: the middle one.
pub fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> Option<T> {
    values.sort_by(|a, b| a.partial_cmp(b).expect("they are comparable"));
    values.get(values.len() / 2).copied()
}

pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn times(ratio: f64) -> String {
    match ratio {
        ..0.095 => format!("{ratio:.2}×"),
        ..9.95 => format!("{ratio:.1}×"),
        _ => format!("{}×", thousands(ratio.round() as u64)),
    }
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let line = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_matches(|letter: char| letter.is_whitespace() || "=:\"".contains(letter)).to_owned()
    };
    let model = line(&read("/proc/cpuinfo"), "model name");
    let system = line(&read("/etc/os-release"), "PRETTY_NAME");
    let rustc = std::process::Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    format!(
        "Measured on {system}, {processors} processors ({model}), {rustc}. Times of a shared machine are noisy: compare the \
         rows. In parentheses: how many times the first row's figure. Less is better everywhere.\n"
    )
}

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever uses one of ours is not helped by the other one.
    #[test]
    fn a_peer_is_ahead_of_each_of_ours_that_takes_longer() {
        let mut table = Table::new("calls", &["time"], "");
        for (name, time) in
            [("natpmp-std", 100.0), ("natpmp-smol", 50.0), ("between", 60.0), ("first", 40.0), ("near", 99.0)]
        {
            table.row(name, vec![Cell::seconds(time)]);
        }
        let expected = "time: between takes 0.6× of what natpmp-std takes, \
                        first takes 0.4× of what natpmp-std takes and 0.8× of what natpmp-smol takes";
        assert_eq!(table.behind(0).as_deref(), Some(expected));
        table.rows.retain(|row| is_ours(&row.name) || row.name == "near");
        assert_eq!(table.behind(0), None, "that is as good as the same");
    }
}
