//! The screen: keys in, pictures out. What takes longer than a moment is done on other threads.

use super::reader::{self, Answer, Watcher, now};
use crate::cli::attach::discovery::{self, Found};
use crate::cli::attach::glance::Glance;
use crate::cli::commands::control;
use crate::cli::commands::naming::Symbols;
use crate::cli::render::units::age;
use crate::cli::render::watch::{Life, Lives};
use crate::wire::control::Verb;
use anyhow::Result;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Points of a course that are kept; every second one goes when there are more.
const POINTS: usize = 2000;

/// The life that is open.
struct Opened {
    pid: u32,
    found: Found,
    answers: Receiver<Result<Answer>>,
    answered: Option<Instant>,
    requests: Vec<Receiver<String>>,
    told: String,
    life: Life,
}

/// The screen and what it shows.
pub(super) struct Screen {
    symbols: Symbols,
    every: Duration,
    watcher: Watcher,
    lives: Lives,
    opened: Option<Opened>,
}

/// What a key does to the screen.
#[derive(PartialEq, Eq)]
enum Next {
    Stay,
    Quit,
}

impl Screen {
    /// With the list, or one life opened.
    pub(super) fn open(pid: Option<u32>, symbols: Symbols, every: Duration) -> Result<Screen> {
        let mut screen = Screen { symbols, every, watcher: Watcher::default(), lives: Lives::default(), opened: None };
        if let Some(pid) = pid {
            screen.opened = Some(screen.opened(pid)?);
        }
        Ok(screen)
    }

    /// Shows it until the user has seen enough.
    pub(super) fn run(&mut self) -> Result<()> {
        let mut terminal = ratatui::try_init()?;
        let ended = self.turns(&mut terminal);
        ratatui::restore();
        ended
    }

    fn turns(&mut self, terminal: &mut DefaultTerminal) -> Result<()> {
        loop {
            self.look();
            let due = Instant::now() + self.every;
            loop {
                self.hear();
                terminal.draw(|frame| match &self.opened {
                    Some(opened) => opened.life.draw(frame),
                    None => self.lives.draw(frame),
                })?;
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                if event::poll(left)? && self.key(event::read()?)? == Next::Quit {
                    return Ok(());
                }
            }
        }
    }

    /// A look at the figures.
    fn look(&mut self) {
        match &mut self.opened {
            Some(opened) => opened.look(),
            None => {
                let chosen = self.lives.rows.get(self.lives.selected).map(|row| row.pid);
                self.lives.rows = self.watcher.lives();
                let place = self.lives.rows.iter().position(|row| Some(row.pid) == chosen);
                self.lives.selected = place.unwrap_or(0);
            }
        }
    }

    /// Takes what other threads have found.
    fn hear(&mut self) {
        if let Some(opened) = &mut self.opened {
            opened.hear();
        }
    }

    fn opened(&self, pid: u32) -> Result<Opened> {
        let found = discovery::of_process(pid, &[])?;
        let answers = reader::follow(pid, self.symbols.clone(), self.every);
        let life =
            Life { title: format!("process {pid}"), verdict: "reading its places …".to_owned(), ..Life::default() };
        let mut opened =
            Opened { pid, found, answers, answered: None, requests: Vec::new(), told: String::new(), life };
        opened.look();
        Ok(opened)
    }

    fn key(&mut self, event: Event) -> Result<Next> {
        let Event::Key(key) = event else { return Ok(Next::Stay) };
        let is_break = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if key.kind != KeyEventKind::Press {
            return Ok(Next::Stay);
        }
        if is_break || key.code == KeyCode::Char('q') {
            return Ok(Next::Quit);
        }
        match &mut self.opened {
            Some(opened) if key.code == KeyCode::Esc && !opened.life.shows_stack => {
                self.opened = None;
                self.look();
            }
            Some(opened) => opened.key(key.code),
            None => self.list_key(key.code)?,
        }
        Ok(Next::Stay)
    }

    fn list_key(&mut self, code: KeyCode) -> Result<()> {
        let last = self.lives.rows.len().saturating_sub(1);
        match code {
            KeyCode::Down | KeyCode::Char('j') => self.lives.selected = (self.lives.selected + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.lives.selected = self.lives.selected.saturating_sub(1),
            KeyCode::Enter => {
                if let Some(row) = self.lives.rows.get(self.lives.selected) {
                    self.opened = Some(self.opened(row.pid)?);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Opened {
    fn look(&mut self) {
        let glance = Glance::of(&self.found.path, Some(self.pid));
        let Some((glance, resident)) = glance.ok().and_then(|glance| Some((glance, glance.resident_bytes?))) else {
            self.told = format!("it has ended; `heaptap report {}` reads what it left", self.pid);
            return;
        };
        let life = &mut self.life;
        (life.live_bytes, life.resident_bytes) = (glance.live_bytes as f64, Some(resident as f64));
        (life.period_bytes, life.is_paused) = (glance.period_bytes as f64, glance.is_paused);
        let time = now();
        for (course, bytes) in [(&mut life.plot.live, glance.live_bytes), (&mut life.plot.resident, resident)] {
            course.push((time, bytes as f64));
            if course.len() > POINTS {
                let mut at = 0;
                course.retain(|_| {
                    at += 1;
                    at % 2 == 0
                });
            }
        }
    }

    fn hear(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            match answer {
                Ok(answer) => self.take(answer),
                Err(error) => self.told = format!("{error:#}"),
            }
        }
        let told = &mut self.told;
        self.requests.retain(|request| match request.try_recv() {
            Ok(text) => {
                *told = text;
                false
            }
            Err(error) => error == mpsc::TryRecvError::Empty,
        });
        let age_of_places = self.answered.map_or(String::new(), |since| {
            let seconds = since.elapsed().as_secs_f64();
            if seconds < 2.0 { String::new() } else { format!("places of {} ago", age(seconds)) }
        });
        self.life.status = match (self.told.is_empty(), age_of_places.is_empty()) {
            (true, _) => age_of_places,
            (false, true) => self.told.clone(),
            (false, false) => format!("{}   {age_of_places}", self.told),
        };
    }

    fn take(&mut self, answer: Answer) {
        let life = &mut self.life;
        if self.answered.is_none() {
            // What the keeper noted before we came.
            for (course, mut before) in
                [(&mut life.plot.live, answer.before.live), (&mut life.plot.resident, answer.before.resident)]
            {
                let first = course.first().map_or(f64::MAX, |(time, _)| *time);
                before.retain(|(time, _)| *time < first);
                before.append(course);
                *course = before;
            }
        }
        self.answered = Some(Instant::now());
        let chosen = life.places.get(life.selected).map(|place| place.label.clone());
        (life.title, life.verdict, life.places) = (answer.title, answer.verdict, answer.places);
        let place = chosen.and_then(|label| life.places.iter().position(|place| place.label == label));
        // A stack that is being read stays, while it is there.
        life.shows_stack &= place.is_some();
        life.selected = place.unwrap_or(0);
        life.sort();
    }

    fn key(&mut self, code: KeyCode) {
        let life = &mut self.life;
        let last = life.places.len().saturating_sub(1);
        match code {
            KeyCode::Down | KeyCode::Char('j') => life.selected = (life.selected + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => life.selected = life.selected.saturating_sub(1),
            KeyCode::Enter => life.shows_stack = !life.shows_stack && !life.places.is_empty(),
            KeyCode::Esc => life.shows_stack = false,
            KeyCode::Char('s') => {
                life.order = (life.order.0.next(), false);
                life.sort();
            }
            KeyCode::Char('S') => {
                life.order.1 = !life.order.1;
                life.sort();
            }
            KeyCode::Char('p') => {
                let verb = if life.is_paused { Verb::Start } else { Verb::Stop };
                self.ask(verb);
            }
            KeyCode::Char('d') => self.ask(Verb::Dump),
            _ => {}
        }
    }

    /// Asks the process; the answer is told when it comes.
    fn ask(&mut self, verb: Verb) {
        let (sender, receiver) = mpsc::channel();
        let pid = self.pid;
        self.requests.push(receiver);
        self.told = "asked; its keeper answers within a second or two".to_owned();
        thread::spawn(move || {
            let told = match control::request(pid, verb, 0, &|_| {}) {
                Ok(Some(path)) => format!("wrote {}", path.display()),
                Ok(None) => if verb == Verb::Stop { "sampling is off" } else { "sampling is on" }.to_owned(),
                Err(error) => format!("{error:#}"),
            };
            // Nobody waits any more once the life is closed.
            let _ = sender.send(told);
        });
    }
}
