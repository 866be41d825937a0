//! The list of tapped lives.

use super::super::layout::{clean, cut};
use super::super::units::{bytes, rate};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Paragraph, Row as TableRow, Table, TableState};

/// One life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// Its pid here.
    pub(crate) pid: u32,
    /// Live bytes.
    pub(crate) live_bytes: f64,
    /// Resident bytes, if we may look.
    pub(crate) resident_bytes: Option<f64>,
    /// What live bytes grow by, bytes a second, since we look; `None`: not long enough.
    pub(crate) rate: Option<f64>,
    /// Whether sampling is off.
    pub(crate) is_paused: bool,
    /// What it is called.
    pub(crate) program: String,
}

/// The list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lives {
    /// Biggest first.
    pub(crate) rows: Vec<Row>,
    /// Which one is chosen.
    pub(crate) selected: usize,
}

impl Row {
    fn cells(&self) -> [String; 6] {
        [
            self.pid.to_string(),
            bytes(self.live_bytes),
            self.resident_bytes.map_or_else(|| "-".to_owned(), bytes),
            self.rate.map_or_else(|| "-".to_owned(), rate),
            if self.is_paused { "off" } else { "on" }.to_owned(),
            clean(&self.program),
        ]
    }

    /// It in a line, for what is no terminal.
    pub(crate) fn line(&self) -> String {
        let [pid, live, resident, rate, sampling, program] = self.cells();
        format!("pid {pid}  live {live}  resident {resident}  {rate}  sampling {sampling}  {program}")
    }
}

impl Lives {
    /// Draws it.
    pub(crate) fn draw(&self, frame: &mut Frame<'_>) {
        let [head, body, foot] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(3), Constraint::Length(1)]).areas(frame.area());
        let bold = Style::new().add_modifier(Modifier::BOLD);
        frame.render_widget(
            Paragraph::new(format!("heaptap watch: {} tapped lives", self.rows.len())).style(bold),
            head,
        );
        let titles = TableRow::new(["pid", "live", "resident", "change", "sampling", "program"]).style(bold);
        let widths = [8, 10, 10, 14, 8].map(Constraint::Length);
        let table = Table::new(
            self.rows.iter().map(|row| TableRow::new(row.cells())),
            widths.into_iter().chain([Constraint::Min(10)]),
        );
        let table = table.header(titles).row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        let mut state = TableState::default().with_selected((!self.rows.is_empty()).then_some(self.selected));
        frame.render_stateful_widget(table, body, &mut state);
        let keys = cut("up/down choose  Enter open  q quit", usize::from(foot.width));
        frame.render_widget(Paragraph::new(keys), foot);
    }
}
