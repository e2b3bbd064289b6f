//! A plot as SVG: panels side by side, both axes logarithmic.

use std::fmt::Write as _;

pub struct Panel {
    pub title: String,
    pub unit: &'static str,
    pub series: Vec<Series>,
}

pub struct Series {
    pub name: &'static str,
    /// Number of mappings, and what they cost.
    pub points: Vec<(f64, f64)>,
}

pub fn svg(panels: &[Panel]) -> String {
    let width = MARGIN + panels.len() as f64 * (WIDTH + GAP);
    let height = HEIGHT + 110.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (number, panel) in panels.iter().enumerate() {
        let left = MARGIN + number as f64 * (WIDTH + GAP);
        draw(&mut text, panel, left);
    }
    let legend = panels.first().map(|panel| panel.series.as_slice()).unwrap_or_default();
    for (number, (series, colour)) in legend.iter().zip(COLOURS).enumerate() {
        let x = MARGIN + number as f64 * 150.0;
        let y = height - 14.0;
        let _ = writeln!(text, "<rect x=\"{x}\" y=\"{}\" width=\"18\" height=\"4\" fill=\"{colour}\"/>", y - 6.0);
        let _ = writeln!(text, "<text x=\"{}\" y=\"{y}\">{}</text>", x + 24.0, series.name);
    }
    text + "</svg>\n"
}

fn draw(text: &mut String, panel: &Panel, left: f64) {
    let (bottom, top) = (TOP + HEIGHT, TOP);
    let _ = writeln!(text, "<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{}</text>", top - 14.0, panel.title);
    let all = || panel.series.iter().flat_map(|series| &series.points);
    let decades = |value: fn(&(f64, f64)) -> f64| {
        let logarithms = || all().map(value).filter(|value| *value > 0.0).map(f64::log10);
        let least = logarithms().min_by(f64::total_cmp).unwrap_or(0.0).floor();
        let most = logarithms().max_by(f64::total_cmp).unwrap_or(1.0).ceil();
        (least, most.max(least + 1.0))
    };
    let (x_axis, y_axis) = (decades(|point| point.0), decades(|point| point.1));
    let x = |value: f64| left + (value.log10() - x_axis.0) / (x_axis.1 - x_axis.0) * WIDTH;
    let y = |value: f64| {
        // Zero has no logarithm: it lies on the axis.
        let share = (value.max(f64::MIN_POSITIVE).log10() - y_axis.0) / (y_axis.1 - y_axis.0);
        bottom - share.clamp(0.0, 1.0) * HEIGHT
    };
    for decade in y_axis.0 as i32..=y_axis.1 as i32 {
        let value = 10f64.powi(decade);
        let at = y(value);
        let _ = writeln!(text, "<path d=\"M{left} {at:.1}h{WIDTH}\" stroke=\"#ddd\"/>");
        let label = format!("{} {}", tick(value), panel.unit);
        let label_x = left - 6.0;
        let _ = writeln!(text, "<text x=\"{label_x}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", at + 4.0);
    }
    for decade in x_axis.0 as i32..=x_axis.1 as i32 {
        let value = 10f64.powi(decade);
        let at = x(value);
        let _ = writeln!(text, "<path d=\"M{at:.1} {bottom}v4\" stroke=\"black\"/>");
        let _ =
            writeln!(text, "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>", bottom + 18.0, tick(value));
    }
    let _ = writeln!(text, "<path d=\"M{left} {bottom}h{WIDTH}\" stroke=\"black\"/>");
    let middle = left + WIDTH / 2.0;
    let _ = writeln!(text, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">mappings kept</text>", bottom + 36.0);
    for (series, colour) in panel.series.iter().zip(COLOURS) {
        let points: Vec<_> = series.points.iter().map(|&(count, cost)| (x(count), y(cost))).collect();
        let line: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let line = line.join(" ");
        let _ = writeln!(text, "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        for (x, y) in points {
            let _ = writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
        }
    }
}

fn tick(value: f64) -> String {
    if value >= 1.0 { crate::report::thousands(value as u64) } else { value.to_string() }
}

const COLOURS: [&str; 6] = ["#1b7f4b", "#2b6cb0", "#c05621", "#9b2c2c", "#6b46c1", "#4a5568"];
const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 220.0;
const GAP: f64 = 90.0;
const MARGIN: f64 = 80.0;
const TOP: f64 = 40.0;
