//! SVG plots: the course of a run, selectors beside each other, ratios and delays as bars.
//!
//! Drawn with `plotters`. Times of latency are on a logarithmic axis; a fault's time is shaded.

use crate::result::Run;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::error::Error;
use std::path::{Path, PathBuf};

type Drawn<T> = Result<T, Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (900, 560);
const FONT: &str = "sans-serif";

/// Latency and errors of one run over time.
pub fn course(dir: &Path, run: &Run) -> Drawn<PathBuf> {
    let path = dir.join(format!("{}.svg", run.name));
    let root = SVGBackend::new(&path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(360);
    let lines = [("p50", 0, percentiles(run, |p| p.p50_ms)), ("p99", 1, percentiles(run, |p| p.p99_ms))];
    latency(&upper, &format!("{} ({}, seed {})", run.name, run.selector, run.seed), &lines, &faults(run))?;
    errors(&lower, std::slice::from_ref(run))?;
    root.present()?;
    drop((upper, lower, root));
    Ok(path)
}

/// The 99th percentile and the errors of runs of one scenario over time.
pub fn compare(dir: &Path, name: &str, runs: &[Run]) -> Drawn<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join(format!("{name}.svg"));
    let root = SVGBackend::new(&path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(360);
    let lines: Vec<_> =
        runs.iter().enumerate().map(|(i, run)| (run.selector.as_str(), i, percentiles(run, |p| p.p99_ms))).collect();
    latency(&upper, &format!("{name}: p99"), &lines, &runs.first().map(faults).unwrap_or_default())?;
    errors(&lower, runs)?;
    root.present()?;
    drop((upper, lower, root));
    Ok(path)
}

/// Groups of bars: a label, and one value for each of `series`.
pub fn bars(dir: &Path, name: &str, unit: &str, series: &[&str], groups: &[(String, Vec<f64>)]) -> Drawn<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join(format!("{name}.svg"));
    let root = SVGBackend::new(&path, (1100, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let most = groups.iter().flat_map(|(_, v)| v).copied().filter(|v| v.is_finite()).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .caption(name, (FONT, 18))
        .margin(8)
        .x_label_area_size(110)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..groups.len() as f64, 0.0..(most * 1.1).max(1e-3))?;
    let label = |x: &f64| groups.get(*x as usize).map(|(l, _)| l.clone()).unwrap_or_default();
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(groups.len() + 1)
        .x_label_formatter(&label)
        .x_label_style((FONT, 11).into_font().transform(FontTransform::Rotate90))
        .y_desc(unit)
        .draw()?;
    let width = 0.8 / series.len().max(1) as f64;
    for (i, name) in series.iter().enumerate() {
        let bar = |(g, (_, values)): (usize, &(String, Vec<f64>))| {
            let (x, y) = (g as f64 + 0.1 + i as f64 * width, values.get(i).copied().unwrap_or(0.0));
            Rectangle::new([(x, 0.0), (x + width, if y.is_finite() { y } else { 0.0 })], colour(i).filled())
        };
        let drawn = chart.draw_series(groups.iter().enumerate().map(bar))?;
        drawn.label(*name).legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], colour(i).filled()));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    root.present()?;
    drop(chart);
    drop(root);
    Ok(path)
}

type Line<'a> = (&'a str, usize, Vec<(f64, f64)>);

fn latency(area: &Area, title: &str, lines: &[Line], faults: &[(f64, f64)]) -> Drawn<()> {
    let points = || lines.iter().flat_map(|(_, _, line)| line);
    let least = points().map(|p| p.1).fold(f64::MAX, f64::min).clamp(0.01, 1e6);
    let (most, end) = (points().map(|p| p.1).fold(least * 10.0, f64::max), points().map(|p| p.0).fold(1.0, f64::max));
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 18))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, (least * 0.8..most * 1.3).log_scale())?;
    chart.configure_mesh().y_desc("ms").draw()?;
    let shade = |&(from, to): &(f64, f64)| {
        Rectangle::new([(from, least * 0.8), (to.min(end), most * 1.3)], RED.mix(0.08).filled())
    };
    chart.draw_series(faults.iter().filter(|f| f.0 < end).map(shade))?;
    for (name, i, line) in lines {
        let (style, i) = (colour(*i).stroke_width(2), *i);
        let drawn = chart.draw_series(LineSeries::new(line.iter().copied(), style))?;
        drawn.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour(i).stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    Ok(())
}

fn errors(area: &Area, runs: &[Run]) -> Drawn<()> {
    let share = |p: &crate::Point| if p.requests == 0 { 0.0 } else { p.errors as f64 / p.requests as f64 * 100.0 };
    let points = || runs.iter().flat_map(|run| &run.series);
    let most = points().map(share).fold(0.1, f64::max);
    let end = points().map(|p| p.at_s).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, 0.0..most * 1.1)?;
    chart.configure_mesh().y_desc("errors, %").x_desc("s after the warm-up").draw()?;
    for (i, run) in runs.iter().enumerate() {
        chart.draw_series(LineSeries::new(run.series.iter().map(|p| (p.at_s, share(p))), colour(i).stroke_width(2)))?;
    }
    Ok(())
}

fn percentiles(run: &Run, of: impl Fn(&crate::Point) -> f64) -> Vec<(f64, f64)> {
    run.series.iter().map(|p| (p.at_s, of(p))).filter(|p| p.1 > 0.0).collect()
}

/// When there were faults, from the warm-up's end on as the course is; overlapping ones darken.
fn faults(run: &Run) -> Vec<(f64, f64)> {
    let shown = run.detections.iter().take(32);
    let shift = run.warm_up_s;
    shown.map(|d| ((d.from_s - shift).max(0.0), d.to_s - shift)).filter(|f| f.1 > f.0).collect()
}

fn colour(i: usize) -> RGBColor {
    const COLOURS: [RGBColor; 8] = [
        RGBColor(31, 119, 180),
        RGBColor(214, 39, 40),
        RGBColor(44, 160, 44),
        RGBColor(255, 127, 14),
        RGBColor(148, 103, 189),
        RGBColor(140, 86, 75),
        RGBColor(23, 190, 207),
        RGBColor(127, 127, 127),
    ];
    COLOURS[i % COLOURS.len()]
}
