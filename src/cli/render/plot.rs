//! Live bytes and resident memory over time in braille dots: for the live screen, and as lines of a report.

use super::layout::Layout;
use super::units::{age, bytes};
use crate::cli::profile::history::Checkpoint;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::series::Series;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};

/// The colours of the two, also in what is said about them.
pub(crate) const LIVE: Color = Color::Cyan;
pub(crate) const RESIDENT: Color = Color::Yellow;

/// A time (seconds) and bytes then.
pub(crate) type Point = (f64, f64);

/// Two courses in one picture, from zero on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plot {
    /// Live bytes of malloc, oldest first.
    pub(crate) live: Vec<Point>,
    /// Resident memory, oldest first; may be empty.
    pub(crate) resident: Vec<Point>,
}

impl Plot {
    /// What the history of a series tells; nothing where other than live bytes are measured.
    pub(crate) fn of(series: &Series) -> Plot {
        if series.profile.metric != Metric::InuseBytes {
            return Plot::default();
        }
        let timeline = || series.profile.history.timeline.iter();
        let time = |moment: &Checkpoint| moment.wall_ns as f64 / 1e9;
        let resident = timeline().filter_map(|moment| Some((time(moment), moment.resident_bytes? as f64)));
        Plot {
            resident: resident.collect(),
            live: timeline().map(|moment| (time(moment), moment.live_bytes)).collect(),
        }
    }

    /// Whether there is anything to see.
    pub(crate) fn is_worth_a_look(&self) -> bool {
        self.live.len() > 2 && self.span() > 0.0
    }

    fn span(&self) -> f64 {
        let times = || self.live.iter().chain(&self.resident).map(|(time, _)| *time);
        times().fold(f64::MIN, f64::max) - times().fold(f64::MAX, f64::min)
    }

    /// Draws it.
    pub(crate) fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let all = || self.live.iter().chain(&self.resident);
        let (first, last) = all().fold((f64::MAX, f64::MIN), |(a, b), (time, _)| (a.min(*time), b.max(*time)));
        let most = all().map(|(_, bytes)| *bytes).fold(1.0, f64::max);
        let dataset = |data, colour| {
            let line = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line);
            line.style(Style::new().fg(colour)).data(data)
        };
        let ago =
            |seconds: f64| Line::from(if seconds > 0.0 { format!("-{}", age(seconds)) } else { "now".to_owned() });
        let span = (last - first).max(f64::MIN_POSITIVE);
        let times = Axis::default().bounds([first, last]).labels([ago(span), ago(span / 2.0), ago(0.0)]);
        let sizes = [0.0, most / 2.0, most].map(|size| Line::from(bytes(size)));
        let sizes = Axis::default().bounds([0.0, most]).labels(sizes).labels_alignment(Alignment::Right);
        let courses = vec![dataset(&self.resident, RESIDENT), dataset(&self.live, LIVE)];
        Chart::new(courses).x_axis(times).y_axis(sizes).legend_position(None).render(area, buffer);
    }

    /// The same as lines of text; on a terminal live bytes are bold, resident memory is dim.
    pub(crate) fn lines(&self, layout: Layout, rows: u16) -> Vec<String> {
        let area = Rect::new(0, 0, u16::try_from(layout.width).unwrap_or(u16::MAX).clamp(1, 500), rows);
        let mut buffer = Buffer::empty(area);
        self.draw(area, &mut buffer);
        (0..area.height).map(|y| row(&buffer, y, layout)).collect()
    }
}

fn row(buffer: &Buffer, y: u16, layout: Layout) -> String {
    let cells: Vec<(Color, &str)> =
        (0..buffer.area.width).filter_map(|x| buffer.cell((x, y)).map(|cell| (cell.fg, cell.symbol()))).collect();
    let runs = cells.chunk_by(|a, b| a.0 == b.0).map(|run| {
        let text: String = run.iter().map(|(_, symbol)| *symbol).collect();
        match run.first().map(|(colour, _)| *colour) {
            Some(LIVE) => layout.bold(&text),
            Some(RESIDENT) => layout.dim(&text),
            _ => text,
        }
    });
    runs.collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_says_how_much_and_how_long_and_fits() {
        let course = |scale: f64| (0..60).map(|n| (f64::from(n) * 60.0, f64::from(n) * scale)).collect();
        let plot = Plot { live: course(1_048_576.0), resident: course(2_097_152.0) };
        let lines = plot.lines(Layout { width: 80, has_colour: false }, 6);
        assert!(lines.iter().all(|line| line.chars().count() <= 80) && lines.len() == 6, "{lines:#?}");
        assert!(lines[0].contains("118 MiB") && lines[5].contains("-59 min") && lines[5].contains("now"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.chars().any(|dot| ('\u{2801}'..='\u{28ff}').contains(&dot))));
        assert!(plot.is_worth_a_look() && !Plot::default().is_worth_a_look());
    }
}
