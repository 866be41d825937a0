//! The arguments that make an answer a document for a ticket or a pull request.

use crate::cli::render::Renderer;
use crate::cli::render::document::{Document, Html, Markdown};

/// The form of a document.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub(crate) struct Form {
    /// Write it as Markdown, for a ticket or a comment under a pull request
    #[arg(long, conflicts_with_all = ["json", "html"])]
    markdown: bool,

    /// Write it as an HTML file without scripts, for a ticket or a mail
    #[arg(long, conflicts_with = "json")]
    html: bool,
}

impl Form {
    /// What writes it; `None`: it is not asked for.
    pub(super) fn renderer(self) -> Option<&'static dyn Renderer<Document>> {
        match (self.markdown, self.html) {
            (true, _) => Some(&Markdown),
            (false, true) => Some(&Html),
            (false, false) => None,
        }
    }
}
