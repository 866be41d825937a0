//! Floor 3 of the CLI: from a named profile to answers. Pure: numbers and names in, tables out.

pub(crate) mod ages;
pub(crate) mod call_tree;
pub(crate) mod callers;
pub(crate) mod collected;
pub(crate) mod culprits;
pub(crate) mod frames;
pub(crate) mod groups;
pub(crate) mod growth;
pub(crate) mod outlook;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod rss;
pub(crate) mod sites;
pub(crate) mod top;
pub(crate) mod tree;
pub(crate) mod trend;
pub(crate) mod verdict;
