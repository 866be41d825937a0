//! The leak summary at the end (`prof_leak`), worded as jemalloc words it (`src/prof_data.c`, `prof_leakcheck`):
//! scripts look for it.

use crate::tap::errand::Errand;
use crate::tap::os::{stderr, sys};
use crate::tap::profiler::PROFILER;

/// Says what is live, if that is wanted. With `prof_leak_error` the process ends with 1 if anything is.
pub(super) fn report(errand: &Errand) {
    let Some(options) = PROFILER.settings().map(|settings| &settings.options).filter(|options| options.prof_leak)
    else {
        return;
    };
    let Some((bytes, objects, contexts)) = PROFILER.live_totals(errand).filter(|totals| totals.0 > 0) else { return };
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    let text = format!(
        "<jemalloc>: Leak approximation summary: ~{bytes} byte{}, ~{objects} object{}, >= {contexts} context{}\n\
         <jemalloc>: Run jeprof on dump output for leak detail\n",
        plural(bytes),
        plural(objects),
        plural(contexts as u64),
    );
    stderr::write(text.as_bytes());
    if options.prof_leak_error {
        stderr::write(b"<jemalloc>: Exiting with error code because memory leaks were detected\n");
        sys::exit_group(1);
    }
}
