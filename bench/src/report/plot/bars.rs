//! Bars beside each other, for figures that stand over nothing.

use plotters::prelude::*;

use super::{WIDTH, failed, text};
use crate::error::Error;
use crate::report::Head;
use crate::report::format::count;

/// Height of one bar and the space around it, in pixels.
const BAR_HEIGHT: u32 = 26;
/// Space for the caption, the axis and the foot.
const REST_HEIGHT: u32 = 120;
/// Space for the labels on the left.
const LABEL_WIDTH: i32 = 300;
/// Space for the figures on the right.
const FIGURE_WIDTH: i32 = 90;
const MARGIN: i32 = 16;

/// One bar.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    pub(crate) colour: RGBColor,
}

/// The bars as an SVG document, from zero.
pub(crate) fn bars(head: &Head, caption: &str, unit: &str, bars: &[Bar]) -> Result<String, Error> {
    let mut document = String::new();
    draw(head, caption, unit, bars, &mut document).map_err(failed)?;
    Ok(document)
}

fn draw(
    head: &Head,
    caption: &str,
    unit: &str,
    bars: &[Bar],
    document: &mut String,
) -> Result<(), String> {
    let rows = u32::try_from(bars.len()).unwrap_or(u32::MAX);
    let height = REST_HEIGHT + BAR_HEIGHT * rows;
    let area = SVGBackend::with_string(document, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE).map_err(text)?;
    let pixels = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let label = ("sans-serif", 14).into_text_style(&area);
    let title = ("sans-serif", 20).into_text_style(&area);
    area.draw_text(&format!("{caption}, {unit}"), &title, (MARGIN, MARGIN)).map_err(text)?;
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let room = f64::from(pixels(WIDTH) - LABEL_WIDTH - FIGURE_WIDTH - 2 * MARGIN);
    for (index, bar) in bars.iter().enumerate() {
        let top = 56 + pixels(BAR_HEIGHT) * i32::try_from(index).unwrap_or(i32::MAX);
        let bottom = top + pixels(BAR_HEIGHT) - 6;
        let left = MARGIN + LABEL_WIDTH;
        let right = left + (room * bar.value / most).round() as i32;
        area.draw_text(&bar.label, &label, (MARGIN, top + 3)).map_err(text)?;
        let shape = Rectangle::new([(left, top), (right, bottom)], bar.colour.filled());
        area.draw(&shape).map_err(text)?;
        area.draw_text(&count(bar.value), &label, (right + 6, top + 3)).map_err(text)?;
    }
    let foot = format!("{}, {}", head.cpu, head.kernel);
    let small = ("sans-serif", 12).into_text_style(&area);
    area.draw_text(&foot, &small, (MARGIN, pixels(height) - 24)).map_err(text)?;
    area.present().map_err(text)
}
