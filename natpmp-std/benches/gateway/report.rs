//! The tables, on standard output and in the page.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::kernel::Filled;
use super::load::{Latency, Rate};
use super::plot::number;
use super::user_space::Row;

/// Prints the tables, and writes them into the page, with the plot beside it.
pub(crate) fn write(user_space: &[Row], kernel: Result<&(Vec<Row>, Vec<Filled>), &str>, plot: &str) {
    let text = tables(user_space, kernel);
    println!("{text}");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    let page = directory.join("GATEWAY.md");
    let before = fs::read_to_string(&page).unwrap();
    let (head, rest) = before.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    fs::write(&page, format!("{head}{BEGIN}\n\n{text}\n{END}{tail}")).unwrap();
    fs::write(directory.join("gateway.svg"), plot).unwrap();
}

fn tables(user_space: &[Row], kernel: Result<&(Vec<Row>, Vec<Filled>), &str>) -> String {
    let mut text = String::from("### In user space, over the loopback interface\n\n");
    rates(&mut text, user_space.iter());
    text += "\n### With the kernel's NAT, in the lab\n\n";
    let (limit, filled) = match kernel {
        Ok((limit, filled)) => (limit, filled),
        Err(reason) => {
            let _ = writeln!(text, "Left out: {reason}.");
            return text;
        }
    };
    text += "| | mappings | all of them asked for at once | calls of the NAT | one more: 50 % | slowest | one less: 50 % | slowest |\n";
    text += "| --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for Filled { row, took, batches, one_more, one_less } in filled {
        let batches = batches.map_or_else(String::new, |batches| batches.to_string());
        let latencies =
            [one_more, one_less].map(|Latency([half, .., slowest])| format!("{} | {}", time(*half), time(*slowest)));
        let (took, latencies) = (time(*took), latencies.join(" | "));
        let _ = writeln!(text, "| {} | {} | {took} | {batches} | {latencies} |", row.who, count(row.size));
    }
    text.push('\n');
    rates(&mut text, limit.iter().zip(filled).flat_map(|(limit, filled)| [limit, &filled.row]));
    text
}

fn rates<'a>(text: &mut String, rows: impl Iterator<Item = &'a Row>) {
    *text += "| | mappings | external address: a second | of the limit | renewals: a second | of the limit | by the clock | \
              latency: 50 % | 99 % | 99.9 % | memory |\n";
    *text += "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for row in rows {
        let Rate { by_clock, by_processor } = row.renewal;
        let [external, renewal] = row.parts.map(percent);
        let Latency(latency) = row.latency;
        let [half, most, nearly_all] = latency.map(time);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {external} | {} | {renewal} | {} | {half} | {most} | {nearly_all} | {:.1} MiB |",
            row.who,
            count(row.size),
            number(row.external.by_processor),
            number(by_processor),
            number(by_clock),
            row.memory as f64 / 1_024.0,
        );
    }
}

/// Nothing where there was no answer in a round.
fn percent(part: f64) -> String {
    if part.is_finite() { format!("{:.0} %", part * 100.0) } else { "–".into() }
}

fn count(size: usize) -> String {
    number(size as f64)
}

fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1_000.0 => format!("{micros:.0} µs"),
        ..1_000_000.0 => format!("{:.1} ms", micros / 1e3),
        _ => format!("{:.1} s", micros / 1e6),
    }
}

const BEGIN: &str = "<!-- figures: written by the benchmark -->";
const END: &str = "<!-- end of the figures -->";
