//! Renewals a second against the number of live mappings, as SVG.

use std::fmt::Write;

use super::kernel::{self, Filled};
use super::user_space::{ECHO, OURS, Row};

/// One line of the plot.
struct Line {
    name: &'static str,
    colour: &'static str,
    is_dashed: bool,
    points: Vec<(f64, f64)>,
}

pub(crate) fn draw(user_space: &[Row], kernel: Option<&(Vec<Row>, Vec<Filled>)>) -> String {
    let lines = lines(user_space, kernel);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">Renewals per second of one core, by the number of live mappings</text>\n"
    );
    for power in 1..=5 {
        let (x, label) = (x(10_f64.powi(power)), number(10_f64.powi(power)));
        let _ = writeln!(svg, "<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"#ddd\"/>");
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", BOTTOM + 20.0);
    }
    for power in LOWEST..=HIGHEST {
        let (y, label) = (y(10_f64.powi(power)), number(10_f64.powi(power)));
        let _ = writeln!(svg, "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#ddd\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 8.0, y + 4.0);
    }
    for (number, line) in lines.iter().enumerate() {
        draw_line(&mut svg, line, LEGEND + 20.0 * number as f64);
    }
    svg + "</svg>\n"
}

fn draw_line(svg: &mut String, line: &Line, legend: f64) {
    let Line { name, colour, is_dashed, points } = line;
    let dashes = if *is_dashed { " stroke-dasharray=\"6 4\"" } else { "" };
    let path: Vec<_> = points.iter().map(|(size, rate)| format!("{:.1} {:.1}", x(*size), y(*rate))).collect();
    let style = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}");
    let _ = writeln!(svg, "<path d=\"M{}\" {style}/>", path.join("L"));
    for (size, rate) in points {
        let _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x(*size), y(*rate));
    }
    let (from, to) = (LEFT + 20.0, LEFT + 50.0);
    let _ = writeln!(svg, "<path d=\"M{from} {legend}H{to}\" {style}/>");
    let _ = writeln!(svg, "<text x=\"{}\" y=\"{:.1}\">{name}</text>", to + 8.0, legend + 4.0);
}

fn lines(user_space: &[Row], kernel: Option<&(Vec<Row>, Vec<Filled>)>) -> Vec<Line> {
    let line = |name, colour, is_dashed, points: Vec<(f64, f64)>| Line { name, colour, is_dashed, points };
    let of = |who| user_space.iter().filter(|row| row.who == who).map(point).collect();
    let mut lines = vec![
        line("bare UDP echo loop, loopback", "#888888", false, of(ECHO)),
        line("natpmp-std without a NAT, loopback", "#1b6ca8", false, of(OURS)),
    ];
    if let Some((limit, filled)) = kernel {
        let of = |who| filled.iter().map(|filled| &filled.row).filter(|row| row.who == who).map(point).collect();
        let same = limit.iter().zip(filled).filter(|(_, filled)| filled.row.who == kernel::OURS);
        lines.push(line("bare UDP echo loop, lab", "#888888", true, same.map(|(limit, _)| point(limit)).collect()));
        lines.push(line("natpmp-std with nftables, lab", "#1b6ca8", true, of(kernel::OURS)));
        lines.push(line("miniupnpd, lab", "#c0392b", true, of(kernel::PEER)));
    }
    lines
}

fn point(row: &Row) -> (f64, f64) {
    (row.size as f64, row.renewal.by_processor)
}

/// Of a number of mappings; both axes are logarithmic.
fn x(size: f64) -> f64 {
    LEFT + (size.log10() - 1.0) / 4.0 * (RIGHT - LEFT)
}

/// Of a rate; what is lower than the axis is on it.
fn y(rate: f64) -> f64 {
    let part = (rate.log10() - f64::from(LOWEST)) / f64::from(HIGHEST - LOWEST);
    BOTTOM - part.clamp(0.0, 1.0) * (BOTTOM - TOP)
}

/// A number as plots and tables show it, with commas.
pub(crate) fn number(value: f64) -> String {
    if value < 10.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let rest = digits.len() % 3;
    let (first, others) = digits.split_at(rest);
    let groups = others.as_bytes().chunks(3).map(|group| std::str::from_utf8(group).unwrap());
    Some(first).filter(|first| !first.is_empty()).into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

const WIDTH: f64 = 740.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 700.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 390.0;
const LEGEND: f64 = 280.0;
/// Powers of ten.
const LOWEST: i32 = 0;
const HIGHEST: i32 = 6;
