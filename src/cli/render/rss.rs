//! Classes of resident memory for people: one line each, with where to look.

use super::Renderer;
use super::layout::{Layout, clean, cut};
use super::units::{bytes, share};
use crate::cli::analyze::rss::{Class, Resident};
use std::io::{self, Write};

/// How to lay it out.
#[derive(Clone, Debug)]
pub(crate) struct RssText {
    /// The page.
    pub(crate) layout: Layout,
}

impl Renderer<Resident> for RssText {
    fn render(&self, resident: &Resident, out: &mut dyn Write) -> io::Result<()> {
        let account = &resident.account;
        let name = resident.exe.as_deref().and_then(|exe| exe.rsplit('/').next()).unwrap_or("process");
        let pid = resident.pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
        let limit = match (resident.memory_used_bytes, resident.memory_limit_bytes) {
            (Some(used), Some(limit)) => {
                format!("; its control group uses {} of {}", bytes(used as f64), bytes(limit as f64))
            }
            _ => String::new(),
        };
        let swap = match account.swap_bytes {
            0 => String::new(),
            swapped => format!("; {} swapped out", bytes(swapped as f64)),
        };
        let head = format!("{name}{pid}: {} resident{swap}{limit}", bytes(account.rss_bytes as f64));
        writeln!(out, "{}\n", self.layout.bold(&cut(&clean(&head), self.layout.width)))?;
        for part in &account.classes {
            let figures = format!(
                "{:>10} {:>7}  {:<16}",
                bytes(part.bytes as f64),
                share(part.bytes as f64 / account.rss_bytes.max(1) as f64),
                part.class.title()
            );
            let room = self.layout.width.saturating_sub(figures.chars().count() + 2);
            writeln!(out, "{figures}  {}", self.layout.dim(&cut(part.class.advice(), room)))?;
        }
        if account.bytes(Class::Malloc) > 0 {
            let note = "malloc is not divided into live and retained: the process is not under heaptap.";
            writeln!(out, "\n{}", self.layout.dim(&cut(note, self.layout.width)))?;
        }
        Ok(())
    }
}
