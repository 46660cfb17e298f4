//! Charts as geometry: templates write it as SVG (`ui/chart.html`), style sheets colour it. Labels are HTML beside the
//! plot, so that no text is stretched with it.

use std::fmt::Write as _;

/// A bar, or a part of one, in hundredths of the plot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rect {
    pub(crate) class: &'static str,
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) width: String,
    pub(crate) height: String,
}

/// What the pointer finds over a column: its place, and its text, lines apart by `|`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) x: String,
    pub(crate) width: String,
    pub(crate) tip: String,
}

/// A column of counts, lowest part first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) parts: Vec<(&'static str, u64)>,
    pub(crate) tip: String,
}

/// A chart of stacked bars from zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bars {
    pub(crate) rects: Vec<Rect>,
    pub(crate) hits: Vec<Hit>,
    /// From the top down to zero.
    pub(crate) y: Vec<String>,
    pub(crate) x: Vec<String>,
    /// What it shows, in words.
    pub(crate) label: String,
}

/// Stacked bars of these columns, on a scale of round numbers.
pub(crate) fn bars(columns: &[Column], x: Vec<String>, label: String) -> Bars {
    let step = step_for(highest(columns));
    let (rects, hits) = stacked(columns, step * 3);
    let y = (0..=3).rev().map(|line| super::show::count(step * line)).collect();
    Bars { rects, hits, y, x, label }
}

/// The same without a scale: the highest column has the whole height.
pub(crate) fn strip(columns: &[Column], x: Vec<String>, label: String) -> Bars {
    let (rects, hits) = stacked(columns, highest(columns).max(1));
    Bars { rects, hits, y: Vec::new(), x, label }
}

fn highest(columns: &[Column]) -> u64 {
    columns.iter().map(|column| column.parts.iter().map(|(_, count)| count).sum()).max().unwrap_or(0)
}

/// The parts of the columns, `top` being the whole height, and what the pointer finds over each.
fn stacked(columns: &[Column], top: u64) -> (Vec<Rect>, Vec<Hit>) {
    let (top, width) = (as_f64(top), 100.0 / as_f64(columns.len().max(1) as u64));
    let (mut rects, mut hits) = (Vec::new(), Vec::new());
    for (place, column) in columns.iter().enumerate() {
        let left = width * as_f64(place as u64);
        let mut reached = 0;
        for (class, count) in column.parts.iter().filter(|(_, count)| *count > 0) {
            reached += count;
            rects.push(Rect {
                class,
                x: two(left + width * 0.13),
                y: two(100.0 - as_f64(reached) / top * 100.0),
                width: two(width * 0.74),
                height: two(as_f64(*count) / top * 100.0),
            });
        }
        hits.push(Hit { x: two(left), width: two(width), tip: column.tip.clone() });
    }
    (rects, hits)
}

/// A line over time on a logarithmic scale.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// The path of the line; it is broken where there is no value.
    pub(crate) path: String,
    /// The path of what lies under it.
    pub(crate) area: String,
}

/// The line of values in milliseconds, from 1 ms at the bottom to 100 s at the top.
pub(crate) fn log_line(values: &[Option<f64>]) -> Line {
    let width = 100.0 / as_f64(values.len().saturating_sub(1).max(1) as u64);
    let point = |(place, value): (usize, &Option<f64>)| {
        let height = value.map(|value| value.max(1.0).log10().clamp(0.0, 5.0) * 20.0);
        height.map(|height| (width * as_f64(place as u64), 100.0 - height))
    };
    let points: Vec<_> = values.iter().enumerate().map(point).collect();
    let mut line = Line::default();
    for run in points.split(Option::is_none) {
        let run: Vec<(f64, f64)> = run.iter().copied().flatten().collect();
        // A single value has no extent: it is drawn as a short stroke.
        let run = if let [(x, y)] = run[..] {
            vec![((x - width * 0.5).max(0.0), y), ((x + width * 0.5).min(100.0), y)]
        } else {
            run
        };
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        line.path.push_str(&path(&run));
        line.area.push_str(&path(&run));
        let _ = write!(line.area, "L{} 100L{} 100Z", two(last.0), two(first.0));
    }
    line
}

/// A line beside a number: 72 wide, 20 high, without axes.
pub(crate) fn spark(values: &[u64]) -> Line {
    let most = as_f64(values.iter().copied().max().unwrap_or(0).max(1));
    let width = 72.0 / as_f64(values.len().saturating_sub(1).max(1) as u64);
    let point = |(place, value): (usize, &u64)| (width * as_f64(place as u64), 19.0 - as_f64(*value) / most * 17.0);
    let path = path(&values.iter().enumerate().map(point).collect::<Vec<_>>());
    Line { area: format!("{path}L72 20L0 20Z"), path }
}

/// A part of a whole that is shown as one bar a thousand wide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) class: &'static str,
    pub(crate) x: String,
    pub(crate) width: String,
}

/// The parts of one bar, in order, two apart; none is too thin to be seen.
pub(crate) fn segments(parts: &[(&'static str, u64)]) -> Vec<Segment> {
    const THINNEST: f64 = 6.0;
    let whole: f64 = parts.iter().map(|(_, size)| as_f64(*size)).sum::<f64>().max(1.0);
    let wide: f64 = parts.iter().map(|(_, size)| (as_f64(*size) / whole * 1000.0).max(THINNEST)).sum();
    let mut x = 0.0;
    let mut segments = Vec::new();
    for (class, size) in parts {
        let width = (as_f64(*size) / whole * 1000.0).max(THINNEST) * 1000.0 / wide;
        segments.push(Segment { class, x: two(x), width: two((width - 2.0).max(2.0)) });
        x += width;
    }
    segments
}

fn path(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (place, (x, y)) in points.iter().enumerate() {
        // Writing to memory does not fail.
        let _ = write!(path, "{}{} {}", if place == 0 { 'M' } else { 'L' }, two(*x), two(*y));
    }
    path
}

/// A third of the scale that holds `most`: one, two, three or five of a power of ten.
fn step_for(most: u64) -> u64 {
    let mut ten = 1_u64;
    loop {
        for times in [1, 2, 3, 5] {
            if let Some(step) = ten.checked_mul(times).filter(|step| step.saturating_mul(3) >= most) {
                return step;
            }
        }
        let Some(next) = ten.checked_mul(10) else { return ten };
        ten = next;
    }
}

fn two(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What is drawn need not be exact.
#[expect(clippy::cast_precision_loss, reason = "a pixel is coarser than what is lost")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_each_other_within_a_round_scale() {
        let column = |allowed, denied| Column { parts: vec![("a", allowed), ("d", denied)], tip: String::new() };
        let bars = bars(&[column(100, 50), column(0, 0)], Vec::new(), String::new());
        assert_eq!(bars.y, ["150", "100", "50", "0"]);
        let shown: Vec<_> = bars.rects.iter().map(|rect| (rect.class, &*rect.y, &*rect.height)).collect();
        assert_eq!(shown, [("a", "33.33", "66.67"), ("d", "0", "33.33")]);
        assert_eq!((bars.hits.len(), &*bars.hits[1].x), (2, "50"));
        assert_eq!(super::bars(&[], Vec::new(), String::new()).y, ["3", "2", "1", "0"]);
        assert!(step_for(u64::MAX) > 0);
    }

    #[test]
    fn a_line_is_broken_where_nothing_is_known() {
        let line = log_line(&[Some(10.0), Some(100.0), None, Some(1000.0), None]);
        assert_eq!(line.path, "M0 80L25 60M62.5 40L87.5 40");
        assert_eq!(line.area, "M0 80L25 60L25 100L0 100ZM62.5 40L87.5 40L87.5 100L62.5 100Z");
        assert_eq!(log_line(&[None, Some(100.0)]).path, "M50 60L100 60", "within the plot");
        assert_eq!(log_line(&[]), Line::default());
    }

    #[test]
    fn a_bar_s_parts_fill_it_and_the_least_is_seen() {
        let parts = segments(&[("t1", 1), ("t4", 999_999)]);
        assert!(parts[0].width.parse::<f64>().unwrap() >= 2.0);
        let end = parts[1].x.parse::<f64>().unwrap() + parts[1].width.parse::<f64>().unwrap();
        assert!((990.0..=1000.0).contains(&end), "{end}");
        assert_eq!(segments(&[]), []);
        assert_eq!(spark(&[0, 4]).path, "M0 19L72 2");
    }
}
