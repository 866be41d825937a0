//! One life: its course, the places that hold its memory, and the stack of the one that is chosen.

use super::super::layout::{clean, cut, wrap};
use super::super::plot::{LIVE, Plot, RESIDENT};
use super::super::units::{bytes, change, count, rate};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Paragraph, Row as TableRow, Table, TableState};

/// Rows of the chart with its axis.
const CHART: u16 = 9;

/// What places are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Column {
    /// Live bytes.
    #[default]
    Live,
    /// What they changed by.
    Change,
    /// How fast.
    Rate,
    /// Live objects.
    Objects,
    /// The verdict's word.
    Verdict,
    /// The place's name.
    Place,
}

/// A place that allocates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// Live bytes.
    pub(crate) bytes: f64,
    /// What they changed by over what is known.
    pub(crate) change: f64,
    /// Bytes a second, where it grows for certain.
    pub(crate) rate: Option<f64>,
    /// Live objects.
    pub(crate) objects: f64,
    /// What it is.
    pub(crate) verdict: &'static str,
    /// What it is called.
    pub(crate) label: String,
    /// Its frames, from the allocation on; and what such a place usually is.
    pub(crate) stack: Vec<String>,
}

/// The screen of one life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    /// Who it is.
    pub(crate) title: String,
    /// The verdict on all of it; empty until it is known.
    pub(crate) verdict: String,
    /// Live bytes and resident memory over time.
    pub(crate) plot: Plot,
    /// Live bytes now.
    pub(crate) live_bytes: f64,
    /// Resident bytes now.
    pub(crate) resident_bytes: Option<f64>,
    /// Mean distance of samples, bytes.
    pub(crate) period_bytes: f64,
    /// Whether sampling is off.
    pub(crate) is_paused: bool,
    /// The places, sorted.
    pub(crate) places: Vec<Place>,
    /// Which one is chosen.
    pub(crate) selected: usize,
    /// What they are sorted by, and whether the other way round.
    pub(crate) order: (Column, bool),
    /// Whether the stack of the chosen one is shown.
    pub(crate) shows_stack: bool,
    /// What came of the last request; how old the places are.
    pub(crate) status: String,
}

impl Column {
    const ALL: [(Column, &'static str); 6] = [
        (Column::Live, "live"),
        (Column::Change, "change"),
        (Column::Rate, "rate"),
        (Column::Objects, "objects"),
        (Column::Verdict, "verdict"),
        (Column::Place, "place"),
    ];

    /// The one right of it.
    pub(crate) fn next(self) -> Column {
        let at = Column::ALL.iter().position(|(column, _)| *column == self).unwrap_or(0);
        Column::ALL.get((at + 1) % Column::ALL.len()).map_or(Column::Live, |(column, _)| *column)
    }
}

impl Life {
    /// Brings the places in order; the chosen place stays chosen.
    pub(crate) fn sort(&mut self) {
        let chosen = self.places.get(self.selected).map(|place| place.label.clone());
        let (column, is_reversed) = self.order;
        let compare = |a: &Place, b: &Place| match column {
            Column::Live => b.bytes.total_cmp(&a.bytes),
            Column::Change => b.change.total_cmp(&a.change),
            Column::Rate => b.rate.unwrap_or(f64::MIN).total_cmp(&a.rate.unwrap_or(f64::MIN)),
            Column::Objects => b.objects.total_cmp(&a.objects),
            Column::Verdict => a.verdict.cmp(b.verdict),
            Column::Place => a.label.cmp(&b.label),
        };
        self.places.sort_by(|a, b| if is_reversed { compare(b, a) } else { compare(a, b) });
        let place = chosen.and_then(|label| self.places.iter().position(|place| place.label == label));
        self.selected = place.unwrap_or(0);
    }

    /// Draws it.
    pub(crate) fn draw(&self, frame: &mut Frame<'_>) {
        let width = usize::from(frame.area().width);
        let verdict: Vec<Line<'_>> = wrap(&clean(&self.verdict), width).into_iter().take(4).map(Line::from).collect();
        let lines = u16::try_from(verdict.len()).unwrap_or(1);
        let rows = [2, lines, CHART].map(Constraint::Length);
        let rows = rows.into_iter().chain([Constraint::Min(4), Constraint::Length(2)]);
        let areas = Layout::vertical(rows).split(frame.area());
        let [head, judged, chart, body, foot] = areas[..] else { return };
        frame.render_widget(Paragraph::new(self.head(width)), head);
        frame.render_widget(Paragraph::new(verdict), judged);
        self.plot.draw(chart, frame.buffer_mut());
        match self.places.get(self.selected).filter(|_| self.shows_stack) {
            Some(place) => stack(place, body, frame),
            None => self.table(body, frame),
        }
        let keys = "arrows choose  Enter stack  s sort  S turn  p sampling  d dump  Esc back  q quit";
        let foot_text = Text::from(vec![Line::from(cut(&clean(&self.status), width)), Line::from(cut(keys, width))]);
        frame.render_widget(Paragraph::new(foot_text), foot);
    }

    fn head(&self, width: usize) -> Text<'static> {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let resident = self.resident_bytes.map_or_else(|| "unknown".to_owned(), bytes);
        let sampling = match self.is_paused {
            true => "sampling is off".to_owned(),
            false => format!("one sample per {}", bytes(self.period_bytes)),
        };
        let figures = vec![
            Span::styled("live ", Style::new().fg(LIVE)),
            Span::styled(bytes(self.live_bytes), bold),
            Span::styled("   resident ", Style::new().fg(RESIDENT)),
            Span::styled(resident, bold),
            Span::raw(format!("   {sampling}")),
        ];
        Text::from(vec![Line::styled(cut(&clean(&self.title), width), bold), Line::from(figures)])
    }

    fn table(&self, area: Rect, frame: &mut Frame<'_>) {
        let title = |(column, name): &(Column, &str)| match (*column == self.order.0, self.order.1) {
            (true, false) => format!("{name} v"),
            (true, true) => format!("{name} ^"),
            (false, _) => (*name).to_owned(),
        };
        let titles = TableRow::new(Column::ALL.iter().map(title)).style(Style::new().add_modifier(Modifier::BOLD));
        let row = |place: &Place| {
            TableRow::new([
                bytes(place.bytes),
                change(place.change),
                place.rate.map_or_else(|| "-".to_owned(), rate),
                count(place.objects),
                place.verdict.to_owned(),
                clean(&place.label),
            ])
        };
        let widths = [10, 11, 15, 10, 10].map(Constraint::Length).into_iter().chain([Constraint::Min(12)]);
        let table = Table::new(self.places.iter().map(row), widths).header(titles);
        let table = table.row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        let mut state = TableState::default().with_selected((!self.places.is_empty()).then_some(self.selected));
        frame.render_stateful_widget(table, area, &mut state);
    }
}

fn stack(place: &Place, area: Rect, frame: &mut Frame<'_>) {
    let head = format!("{} in {} objects, {}", bytes(place.bytes), count(place.objects), place.verdict);
    let lines = [head].into_iter().chain(place.stack.iter().map(|line| format!("  {}", clean(line))));
    let lines: Vec<Line<'_>> = lines.map(|line| Line::from(cut(&line, usize::from(area.width)))).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn screen(life: &Life) -> String {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| life.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        buffer.content().chunks(80).map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
    }

    fn life() -> Life {
        let place = |label: &str, bytes, change| Place {
            label: label.to_owned(),
            bytes,
            change,
            verdict: "leaks",
            stack: vec!["malloc".to_owned(), "com.shop.Main.run".to_owned()],
            ..Place::default()
        };
        let places = vec![place("small", 1e6, 9e5), place("big", 9e6, 1e5)];
        let mut life = Life { title: "java (pid 7)".to_owned(), places, ..Life::default() };
        life.plot.live = vec![(0.0, 1e6), (60.0, 9e6)];
        life
    }

    #[test]
    fn places_are_sorted_by_any_column_and_the_chosen_one_stays() {
        let mut life = life();
        life.sort();
        assert_eq!(life.places[0].label, "big");
        assert_eq!(life.selected, 1, "`small` was chosen");
        life.order = (Column::Change, false);
        life.sort();
        assert_eq!((life.places[0].label.as_str(), life.selected), ("small", 0));
        life.order.1 = true;
        life.sort();
        assert_eq!(life.places[0].label, "big");
        assert_eq!((0..6).fold(Column::Live, |column, _| column.next()), Column::Live);
    }

    #[test]
    fn a_screen_of_80_by_24_holds_all_and_hostile_names_are_inert() {
        let mut life = life();
        life.places[0].label = "evil\u{1b}[2J".to_owned();
        let shown = screen(&life);
        for text in ["java (pid 7)", "live v", "8.58 MiB", "evil?[2J", "leaks", "q quit", "-1.0 min"] {
            assert!(shown.contains(text), "{text}\n{shown}");
        }
        life.shows_stack = true;
        assert!(screen(&life).contains("com.shop.Main.run"));
    }
}
