//! The last words of a container: who it was, how it ended, the verdict; one line, which Kubernetes keeps 4 KiB of.

use super::layout::{clean, cut};
use super::sentences;
use crate::cli::analyze::report::Report;

/// Characters of the line.
const WIDTH: usize = 1000;
/// Characters of the process's title, and of the path of its dump.
const NAME: usize = 120;

/// `heaptap: java org.acme.Shop (pid 7) was killed by signal 9. LEAKS: … Dump: /dumps/jeprof.7.0.f.heap`.
pub(crate) fn line(report: &Report, end: &str) -> String {
    let process = &report.process;
    let title = process.title.as_deref().or(process.exe.as_deref()).unwrap_or("a program");
    let pid = process.pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
    let dump = report.dumps.last().map_or(String::new(), |dump| format!(" Dump: {}", cut(&dump.path, NAME)));
    let verdict = cut(&sentences::verdict(report), WIDTH - dump.chars().count());
    one_line(&format!("heaptap: {}{pid} {end}. {verdict}{dump}", cut(title, NAME)))
}

/// The same where there is nothing to judge by.
pub(crate) fn without_dump(end: &str) -> String {
    one_line(&format!("heaptap: the program {end}. CANNOT TELL: it left no dump, and nothing in memory."))
}

fn one_line(text: &str) -> String {
    clean(&text.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_dump_the_line_says_so() {
        let line = without_dump("was killed by signal 9\n");
        assert!(line.starts_with("heaptap: the program was killed") && line.contains("CANNOT TELL"), "{line}");
        assert!(!line.contains('\n'));
    }
}
