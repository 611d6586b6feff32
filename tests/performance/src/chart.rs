//! The chart: three panels, one file, legible on light and on dark pages.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::bound::{Bound, bound};
use crate::hooks::REFERENCE;
use crate::results::Results;
use crate::scale::{Figure, Who};

const SIZE: (u32, u32) = (960, 760);

/// A colour on a light page, and what it turns into on a dark one.
#[derive(PartialEq)]
struct Ink {
    light: RGBColor,
    dark: &'static str,
}

const fn ink(light: u32, dark: &'static str) -> Ink {
    let [_, red, green, blue] = light.to_be_bytes();
    Ink {
        light: RGBColor(red, green, blue),
        dark,
    }
}

const PAGE: Ink = ink(0xfbfcfd, "#161d23");
const TEXT: Ink = ink(0x1d2a33, "#e3eaef");
const GRID: Ink = ink(0xe0e6ea, "#2a353d");
const OURS: Ink = ink(0x0f5c6e, "#5cb6cb");
const PYTHON: Ink = ink(0xb77a00, "#f5b83d");
const LEAST: Ink = ink(0x7b8c97, "#93a4af");
const OTHER: Ink = ink(0x8a4f9e, "#c994dc");
const INKS: [&Ink; 7] = [&PAGE, &TEXT, &GRID, &OURS, &PYTHON, &LEAST, &OTHER];

/// What a decision about so many units may take, in milliseconds; less for fewer, in proportion.
const GOAL: (f64, f64) = (10_000.0, 60.0);

/// One line of a panel.
struct Line {
    name: &'static str,
    ink: &'static Ink,
    points: Vec<(f64, f64)>,
}

/// One diagram. Both axes are logarithmic.
struct Panel {
    title: &'static str,
    across: &'static str,
    lines: Vec<Line>,
}

/// Why there is no chart.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw: {0}")]
pub struct ChartError(String);

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for ChartError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        ChartError(error.to_string())
    }
}

/// Draws what was measured so far.
pub fn draw(results: &Results) -> Result<String, ChartError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&PAGE.light)?;
        let area = area.margin(14, 14, 14, 14);
        for (panel, cell) in panels(results).iter().zip(area.split_evenly((2, 2))) {
            if !panel.lines.is_empty() {
                panel.draw(&cell)?;
            }
        }
        area.present()?;
    }
    Ok(styled(&svg))
}

fn panels(results: &Results) -> [Panel; 3] {
    [
        Panel {
            title: "A hook with nothing new: milliseconds",
            across: "units",
            lines: hook_lines(results),
        },
        Panel {
            title: "A host every 30 seconds: hook tools per host",
            across: "hosts",
            lines: scale_lines(
                results,
                |one| Some(one.calls_per_host),
                |least| least.calls_per_host,
            ),
        },
        Panel {
            title: "The pure core: milliseconds",
            across: "units",
            lines: core_lines(results),
        },
    ]
}

fn hook_lines(results: &Results) -> Vec<Line> {
    let Some(hooks) = &results.hooks else {
        return Vec::new();
    };
    let ours = hooks.sizes.iter();
    let ours = ours.map(|size| (size.units as f64, size.nothing_new.median));
    let python = REFERENCE.map(|(units, time, _)| (units as f64, time));
    vec![
        Line {
            name: "Python charm",
            ink: &PYTHON,
            points: python.to_vec(),
        },
        Line {
            name: "this charm",
            ink: &OURS,
            points: ours.collect(),
        },
    ]
}

fn scale_lines(
    results: &Results,
    figure: fn(&Figure) -> Option<f64>,
    least: fn(&Bound) -> f64,
) -> Vec<Line> {
    let Some(scale) = &results.scale else {
        return Vec::new();
    };
    let of = |who: Who| {
        let same = scale.figures.iter();
        let same = same.filter(move |one| one.who == who);
        same.filter_map(move |one| Some((one.hosts as f64, figure(one)?)))
            .collect::<Vec<_>>()
    };
    let ours = of(Who::Ours);
    let bounds = ours.iter().map(|(hosts, _)| {
        let bound = bound(*hosts as usize);
        (*hosts, least(&bound))
    });
    let bounds = bounds.collect();
    let python = of(Who::Pe);
    let lines = [
        ("Python rules, 0.8", &PYTHON, python),
        ("this charm", &OURS, ours),
        ("bound", &LEAST, bounds),
    ];
    lines
        .into_iter()
        .map(|(name, ink, points)| Line { name, ink, points })
        .filter(|line| !line.points.is_empty())
        .collect()
}

fn core_lines(results: &Results) -> Vec<Line> {
    let Some(core) = &results.core else {
        return Vec::new();
    };
    let mut slowest: Vec<(f64, f64)> = Vec::new();
    for one in &core.decisions {
        let (units, time) = (one.memory.units as f64, one.time.fastest);
        match slowest.iter_mut().find(|(known, _)| *known == units) {
            Some((_, known)) => *known = time.max(*known),
            None => slowest.push((units, time)),
        }
    }
    let encodings = core.encodings.iter();
    let encodings = encodings.map(|one| (one.units as f64, one.time.fastest));
    let goal = slowest
        .iter()
        .map(|(units, _)| (*units, GOAL.1 * units / GOAL.0));
    vec![
        Line {
            name: "goal",
            ink: &LEAST,
            points: goal.collect(),
        },
        Line {
            name: "the slowest of three decisions",
            ink: &OURS,
            points: slowest,
        },
        Line {
            name: "encoding what it writes",
            ink: &OTHER,
            points: encodings.collect(),
        },
    ]
}

impl Panel {
    fn draw(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), ChartError> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let across = range(points().map(|(x, _)| *x), 1.0, 1.3);
        // The names of the lines are above them.
        let up = range(points().map(|(_, y)| *y), 1.6, 6.0);
        let text = |size: u32| ("sans-serif", size).into_font().color(&TEXT.light);
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, text(20))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(across.log_scale(), up.log_scale())?;
        chart
            .configure_mesh()
            .bold_line_style(GRID.light)
            .light_line_style(TRANSPARENT)
            .axis_style(LEAST.light)
            .label_style(text(16))
            .x_desc(self.across)
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .draw()?;
        for line in &self.lines {
            let color = line.ink.light;
            let wide = color.stroke_width(if *line.ink == LEAST { 1 } else { 2 });
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), wide).point_size(3))?
                .label(line.name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(text(16))
            .background_style(TRANSPARENT)
            .border_style(TRANSPARENT)
            .draw()?;
        Ok(())
    }
}

fn range(values: impl Iterator<Item = f64>, below: f64, above: f64) -> std::ops::Range<f64> {
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    least / below..most * above
}

fn short(number: f64) -> String {
    match number {
        1000.0.. => format!("{} 000", (number / 1000.0).round()),
        1.0.. => format!("{}", number.round()),
        _ => format!("{}", (number * 1000.0).round() / 1000.0),
    }
}

/// Adds a title for those who cannot see, and the colours of a dark page.
fn styled(svg: &str) -> String {
    let mut style = String::new();
    for ink in INKS {
        let RGBColor(red, green, blue) = ink.light;
        let light = format!("#{red:02X}{green:02X}{blue:02X}");
        for property in ["fill", "stroke"] {
            style += &format!("[{property}=\"{light}\"]{{{property}:{}}}", ink.dark);
        }
    }
    let head = format!(
        "<title>What the charm costs</title>\n<style>text{{font-family:system-ui,-apple-system,\
         \"Segoe UI\",\"DejaVu Sans\",sans-serif}}\n@media (prefers-color-scheme: dark){{{style}}}\
         </style>\n"
    );
    match svg.split_once(">\n") {
        Some((root, rest)) => format!("{root}>\n{head}{rest}"),
        None => svg.to_owned(),
    }
}
