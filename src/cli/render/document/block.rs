//! What a document is made of.

/// A piece of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// What must be read.
    Strong(String),
    /// A paragraph.
    Text(String),
    /// Numbers to the right, the last column (a name) to the left.
    Table(Table),
    /// Lines of a stack under a heading, to be opened.
    Stack(String, Vec<String>),
}

/// Rows of cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Titles of the columns.
    pub(crate) columns: Vec<&'static str>,
    /// As many cells each.
    pub(crate) rows: Vec<Vec<String>>,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// Its heading.
    pub(crate) title: String,
    /// What stands below.
    pub(crate) blocks: Vec<Block>,
}
