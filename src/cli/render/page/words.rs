//! What the page says in words: the verdict, and about the dump, the tap and the names.

use super::super::symbols::Modules;
use super::super::words::{MEANINGS, conclusion};
use super::super::{info, kept, mapped, refusals, rss, sampling, sentences};
use crate::cli::analyze::report::Report;
use crate::cli::inert::clean;
use crate::cli::profile::series::Series;
use serde::Serialize;

/// The first tab.
#[derive(Serialize)]
pub(super) struct Summary {
    /// The verdict on the process.
    verdict: String,
    /// Whether it is a finding.
    is_finding: bool,
    /// What was refused, what is live, what was done to the sampling.
    facts: Vec<String>,
    /// Where the resident memory is now, and what of it changed.
    resident: Vec<String>,
    /// Classes of it: title, bytes, what to look at.
    classes: Vec<(&'static str, u64, &'static str)>,
}

/// The last tab.
#[derive(Serialize)]
pub(super) struct About {
    /// What it is about, and what there is to say.
    facts: Vec<(String, String)>,
    /// Files whose names are missing in part: path, places, those with a name, source, what would help.
    modules: Vec<(String, usize, usize, String, String)>,
    /// Words of verdicts, and their meanings.
    verdicts: Vec<(&'static str, &'static str)>,
}

impl Summary {
    pub(super) fn of(report: &Report) -> Summary {
        let now = report.dumps.last().and_then(|dump| dump.time).unwrap_or(0.0);
        let refused = report.failures.iter().map(refusals::sentence);
        let rest = [sentences::title(report), sentences::totals(report), sampling::sentences(&report.sampling, now)];
        let resident = [
            report.rss.as_ref().map(sentences::resident),
            report.allocator.as_ref().and_then(|kept| kept::sentence(kept, report.process.pid)),
            report.mapped.as_ref().map(mapped::sentence),
            report.rss_change.as_ref().map(rss::sentence),
        ];
        let account = report.rss.iter().flat_map(|account| &account.classes);
        let advice = |share: &crate::cli::analyze::rss::Share| {
            share.class.advice_for(report.process.is_jvm, report.process.keeps_allocator)
        };
        Summary {
            verdict: sentences::verdict(report),
            is_finding: report.outlook.is_finding(),
            facts: refused.chain(rest).filter(|text| !text.is_empty()).collect(),
            resident: resident.into_iter().flatten().collect(),
            classes: account.map(|share| (share.class.title(), share.bytes, advice(share))).collect(),
        }
    }
}

impl About {
    pub(super) fn of(report: &Report, series: &Series, modules: &Modules) -> About {
        let told = series.last().map(|dump| {
            let whole = crate::cli::profile::series::Dump { metadata: series.profile.metadata.clone(), ..dump.clone() };
            info::lines(&info::file(series, &whole))
        });
        let mut facts: Vec<(String, String)> =
            told.into_iter().flatten().map(|(key, text)| (key.to_owned(), clean(&text))).collect();
        let dumps = report.dumps.iter().map(|dump| clean(&dump.path)).collect::<Vec<_>>();
        facts.push(("dumps".to_owned(), dumps.join("\n")));
        facts.push(("page".to_owned(), format!("heaptap {}; plots by uPlot (MIT)", env!("CARGO_PKG_VERSION"))));
        let missing = modules.modules.iter().filter(|row| row.named < row.places || row.warning.is_some());
        About {
            facts,
            modules: missing
                .map(|row| {
                    let advice = row.warning.iter().chain(&row.advice).map(|text| clean(text)).collect::<Vec<_>>();
                    (clean(&row.path), row.places, row.named, clean(&row.source), advice.join("; "))
                })
                .collect(),
            verdicts: MEANINGS.iter().map(|(verdict, meaning)| (conclusion(*verdict), *meaning)).collect(),
        }
    }
}
