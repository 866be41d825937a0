//! Programs with known truth. Each says what it does in every half second of its life.

use super::world::World;

pub(crate) const KIB: f64 = 1024.0;
pub(crate) const MIB: f64 = 1048576.0;
/// Lives for ever.
pub(crate) const EVER: f64 = f64::INFINITY;
/// Seconds from step to step.
pub(crate) const STEP: f64 = 0.5;

/// What is true of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    /// It leaks, in this method.
    Leak(&'static str),
    /// It does not.
    Healthy,
    /// It holds what nobody frees and does not grow (any more): no finding, and the place is told as held.
    Held(&'static str),
    /// It fills, and nobody can tell whether it will stop: no clean bill.
    Open,
}

/// One program.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) truth: Truth,
    /// Seconds that it runs.
    pub(crate) life: f64,
    /// Frees all as it ends.
    pub(crate) tears_down: bool,
    pub(crate) step: fn(&mut World, f64),
}

const fn program(name: &'static str, truth: Truth, step: fn(&mut World, f64)) -> Program {
    Program { name, truth, life: 120.0, tears_down: false, step }
}

/// What every server has: tables from its start, requests, a log.
pub(crate) fn server(w: &mut World, t: f64) {
    let request = w.at(&["com/acme/Request read", "com/acme/Server handle", "com/acme/Server run"], 4.0 * KIB);
    let buffer = w.at(&["com/acme/Buffer make", "com/acme/Server handle", "com/acme/Server run"], 64.0 * KIB);
    let table = w.at(&["com/acme/Tables load", "com/acme/Server start"], 512.0);
    if t < 3.0 {
        w.allocate(table, 6.0 * MIB / 6.0 / 512.0, EVER, STEP);
    }
    w.churn(request, 2000.0 * STEP, 0.4, STEP);
    w.churn(buffer, 60.0 * STEP, 1.5, STEP);
}

fn leak(w: &mut World, frames: &[&str], size: f64, bytes: f64) {
    let place = w.at(frames, size);
    w.allocate(place, bytes / size, EVER, STEP);
}

fn constant(w: &mut World, t: f64) {
    server(w, t);
    leak(w, &["com/acme/Session open", "com/acme/Server login", "com/acme/Server run"], 2000.0, 0.5 * MIB * STEP);
}

fn tiny(w: &mut World, t: f64) {
    server(w, t);
    // 72 samples a quarter. With fewer than 50, one leak in a hundred is told as one that fills.
    leak(w, &["com/acme/Listener add", "com/acme/Server login", "com/acme/Server run"], 48.0, 300.0 * KIB * STEP);
}

fn large(w: &mut World, t: f64) {
    server(w, t);
    if t % 4.0 < STEP {
        leak(w, &["com/acme/Image decode", "com/acme/Server handle", "com/acme/Server run"], 8.0 * MIB, 8.0 * MIB);
    }
}

fn under_churn(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Message decode", "com/acme/Server handle", "com/acme/Server run"], 8.0 * KIB);
    w.churn(place, 4000.0 * STEP, 0.5, STEP);
    w.allocate(place, 20.0 * STEP, EVER, STEP);
}

fn on_cache(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Cache put", "com/acme/Server handle", "com/acme/Server run"], 4.0 * KIB);
    if t < 2.0 {
        w.allocate(place, 500.0 * MIB / 4.0 / (4.0 * KIB), EVER, STEP);
    }
    w.allocate(place, 0.8 * MIB * STEP / (4.0 * KIB), EVER, STEP);
}

fn bursts(w: &mut World, t: f64) {
    server(w, t);
    if t % 8.0 < STEP {
        leak(w, &["com/acme/Report render", "com/acme/Timer fire"], 30.0 * KIB, 6.0 * MIB);
    }
}

fn starts_late(w: &mut World, t: f64) {
    server(w, t);
    if t > 60.0 {
        leak(w, &["com/acme/Plugin call", "com/acme/Server handle"], 3000.0, 0.6 * MIB * STEP);
    }
}

fn follows_load(w: &mut World, t: f64) {
    server(w, t);
    let load = 1.0 + (t / 7.0).sin();
    leak(w, &["com/acme/Auth check", "com/acme/Server handle"], 1500.0, 0.5 * MIB * load * STEP);
}

const CALLERS: [&str; 40] = [
    "com/acme/A call",
    "com/acme/B call",
    "com/acme/C call",
    "com/acme/D call",
    "com/acme/E call",
    "com/acme/F call",
    "com/acme/G call",
    "com/acme/H call",
    "com/acme/I call",
    "com/acme/J call",
    "com/acme/K call",
    "com/acme/L call",
    "com/acme/M call",
    "com/acme/N call",
    "com/acme/O call",
    "com/acme/P call",
    "com/acme/Q call",
    "com/acme/R call",
    "com/acme/S call",
    "com/acme/T call",
    "com/acme/U call",
    "com/acme/V call",
    "com/acme/W call",
    "com/acme/X call",
    "com/acme/Y call",
    "com/acme/Z call",
    "com/acme/Aa call",
    "com/acme/Ab call",
    "com/acme/Ac call",
    "com/acme/Ad call",
    "com/acme/Ae call",
    "com/acme/Af call",
    "com/acme/Ag call",
    "com/acme/Ah call",
    "com/acme/Ai call",
    "com/acme/Aj call",
    "com/acme/Ak call",
    "com/acme/Al call",
    "com/acme/Am call",
    "com/acme/An call",
];

fn many_callers(w: &mut World, t: f64) {
    server(w, t);
    for first in CALLERS {
        for second in CALLERS.iter().take(12) {
            leak(
                w,
                &["com/acme/Strings copy", first, second, "com/acme/Server run"],
                100.0,
                10.0 * MIB / 480.0 / 240.0,
            );
        }
    }
}

fn many_below(w: &mut World, t: f64) {
    server(w, t);
    let below = ["Btree", "Pager", "Vdbe", "Parse", "Expr", "Mem", "Value", "Index", "Table", "Text"];
    for part in below {
        let leaf = format!("sun/db/{part} allocate");
        let frames = [leaf.as_str(), "sun/db/Native prepare", "com/acme/Store lookup", "com/acme/Server handle"];
        leak(w, &frames, 900.0, 0.04 * MIB * STEP);
    }
}

fn many_modules(w: &mut World, t: f64) {
    server(w, t);
    for (n, caller) in CALLERS.iter().enumerate().take(30) {
        let leaf = format!("org/module{n}/Codec make");
        let user = format!("org/module{n}/Codec use");
        leak(w, &[&leaf, &user, caller, "com/acme/Plugins runAll", "com/acme/Server run"], 400.0, 0.012 * MIB * STEP);
    }
}

fn two_leaks(w: &mut World, t: f64) {
    constant(w, t);
    leak(w, &["com/acme/Cursor open", "com/acme/Server query"], 5000.0, 0.3 * MIB * STEP);
}

/// One object that is made bigger again and again.
fn realloc(w: &mut World, t: f64) {
    server(w, t);
    let size = 256.0 * KIB * (1.0 + t * 2.0);
    let place = w.at(&["com/acme/Journal append", "com/acme/Server handle"], size.round());
    let before = w.at(&["com/acme/Journal append", "com/acme/Server handle"], (size - 256.0 * KIB).round());
    if place != before {
        w.free(before, 1.0);
    }
    w.allocate(place, 1.0, EVER, 0.0);
}

pub(crate) fn stops(w: &mut World, t: f64) {
    server(w, t);
    if (20.0..70.0).contains(&t) {
        leak(w, &["com/acme/Session open", "com/acme/Server login"], 2000.0, MIB * STEP);
    }
}

fn grows_faster(w: &mut World, t: f64) {
    server(w, t);
    leak(w, &["com/acme/Retry queue", "com/acme/Server run"], 2000.0, 0.01 * MIB * t * STEP);
}

fn partly(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Stream open", "com/acme/Server handle"], 32.0 * KIB);
    w.churn(place, 40.0 * STEP, 2.0, STEP);
    w.allocate(place, 20.0 * STEP, EVER, STEP);
}

fn workers(w: &mut World, t: f64) {
    server(w, t);
    if t % 2.0 < STEP {
        leak(w, &["com/acme/Worker buffers", "com/acme/Worker run"], 128.0 * KIB, 512.0 * KIB);
    }
}

fn idle(w: &mut World, t: f64) {
    if t < 3.0 {
        server(w, t);
    }
}

fn warm_up(w: &mut World, t: f64) {
    server(w, t);
    let bytes = 60.0 * MIB * ((-t / 20.0).exp() - (-(t + STEP) / 20.0).exp());
    leak(w, &["com/acme/Classes define", "com/acme/Server handle"], 800.0, bytes);
}

fn logarithm(w: &mut World, t: f64) {
    server(w, t);
    let bytes = 12.0 * MIB * ((1.0 + t + STEP).ln() - (1.0 + t).ln());
    leak(w, &["com/acme/Names intern", "com/acme/Server handle"], 300.0, bytes);
}

fn lru_full(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Cache put", "com/acme/Server handle"], 16.0 * KIB);
    // 40 s of insertions fill it; then each pushes another one out.
    w.allocate(place, 80.0 * STEP, 40.0, STEP);
}

fn lru_random(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Cache put", "com/acme/Server handle"], 16.0 * KIB);
    // Keys at random: of 4,000 entries the missing ones are made.
    let missing = 1.0 - (-t / 25.0).exp();
    w.allocate(place, 160.0 * STEP * (1.0 - missing), EVER, STEP);
}

fn fills_for_ever(w: &mut World, t: f64) {
    server(w, t);
    leak(w, &["com/acme/Cache put", "com/acme/Server handle"], 16.0 * KIB, MIB * STEP);
}

fn pool(w: &mut World, t: f64) {
    server(w, t);
    let is_step = [5.0, 9.0, 20.0, 33.0].iter().any(|at| (t - at).abs() < STEP / 2.0);
    if is_step {
        leak(w, &["com/acme/Pool chunk", "com/acme/Server handle"], 4.0 * MIB, 4.0 * MIB);
    }
}

fn thread_buffers(w: &mut World, t: f64) {
    server(w, t);
    if t < 30.0 && t % 1.0 < STEP {
        leak(w, &["com/acme/Thread buffer", "com/acme/Thread run"], 256.0 * KIB, 256.0 * KIB);
    }
}

fn sawtooth(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Batch add", "com/acme/Server handle"], 2000.0);
    if t % 25.0 < STEP {
        w.free(place, 1.0);
    }
    w.allocate(place, MIB * STEP / 2000.0, EVER, STEP);
}

fn late_collection(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["java/nio/DirectByteBuffer <init>", "com/acme/Channel read"], 64.0 * KIB);
    if t % 37.0 < STEP {
        w.free(place, 0.95);
    }
    w.allocate(place, 16.0 * STEP, EVER, STEP);
}

fn day_and_night(w: &mut World, t: f64) {
    server(w, t);
    let load = 1.0 + (t / 120.0 * std::f64::consts::TAU * 2.0).sin();
    let place = w.at(&["com/acme/Query run", "com/acme/Server handle"], 24.0 * KIB);
    w.churn(place, 400.0 * load * STEP, 3.0, STEP);
}

fn ever_busier(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Query run", "com/acme/Server handle"], 24.0 * KIB);
    w.churn(place, (100.0 + 10.0 * t) * STEP, 2.0, STEP);
}

fn backlog(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Queue offer", "com/acme/Server handle"], 10.0 * KIB);
    w.allocate(place, 100.0 * STEP, 2.0 + t * 0.25, STEP);
}

fn arena(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Arena grow", "com/acme/Job run"], MIB);
    w.allocate(place, 2.0, 6.0, STEP);
    if t % 12.0 < STEP {
        w.free(place, 1.0);
    }
}

fn jit(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["sun/jit/Arena grow", "C2Compiler:: C2Compiler::compile_method"], 32.0 * KIB);
    if w.random() < 0.1 {
        let much = 40.0 + 400.0 * w.random();
        let lifetime = 1.0 + 3.0 * w.random();
        w.allocate(place, much, lifetime, STEP);
    }
}

fn steady(w: &mut World, t: f64) {
    server(w, t);
    for n in 0..30 {
        let name = format!("com/acme/Part{n} work");
        let place = w.at(&[name.as_str(), "com/acme/Server handle"], 500.0 + 700.0 * f64::from(n));
        w.churn(place, MIB * STEP / (500.0 + 700.0 * f64::from(n)), 0.5 + f64::from(n), STEP);
    }
}

fn burst_at_end(w: &mut World, t: f64) {
    server(w, t);
    if t > 117.5 && t < 119.0 {
        leak(w, &["com/acme/Shutdown flush", "com/acme/Server stop"], 32.0 * KIB, 2.0 * MIB);
    }
}

fn goes_to_nothing(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Region swap", "com/acme/Memtable put"], 128.0 * KIB);
    if t < 55.0 {
        w.allocate(place, 4.0 * STEP, EVER, STEP);
    } else {
        w.free(place, 1.0);
    }
}

fn long_table(w: &mut World, t: f64) {
    server(w, t);
    if (40.0..55.0).contains(&t) {
        leak(w, &["com/acme/Index load", "com/acme/Server reload"], 4000.0, 6.0 * MIB * STEP);
    }
}

fn sessions(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Session open", "com/acme/Server login"], 6.0 * KIB);
    w.allocate(place, 60.0 * STEP, 30.0, STEP);
}

fn retained(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Peak build", "com/acme/Job run"], 40.0 * KIB);
    if t < 30.0 {
        w.allocate(place, 50.0 * STEP, EVER, STEP);
    } else if t < 31.0 {
        w.free(place, 0.9);
    }
}

fn long_of(program: Program, life: f64) -> Program {
    Program { life, ..program }
}

fn torn_down(program: Program) -> Program {
    Program { tears_down: true, ..program }
}

/// All of them.
/// Buffers of one place: some are kept, and a collector that comes each fifty seconds frees the others.
fn kept_beside_collected(w: &mut World, t: f64) {
    const EVERY: f64 = 50.0;
    server(w, t);
    let place = w.at(&["com/acme/Buffer allocate", "com/acme/Server handle"], 64.0 * KIB);
    w.allocate(place, 3.0, EVER, STEP);
    w.allocate(place, 3.0, EVERY - t % EVERY, 0.0);
}

pub(crate) fn all() -> Vec<Program> {
    use Truth::{Healthy, Held, Leak, Open};
    vec![
        program("constant", Leak("Session.open"), constant),
        program("tiny objects", Leak("Listener.add"), tiny),
        program("large objects", Leak("Image.decode"), large),
        program("slow, under churn of the same stack", Leak("Message.decode"), under_churn),
        program("on a large cache of the same stack", Leak("Cache.put"), on_cache),
        program("in bursts", Leak("Report.render"), bursts),
        program("starts late", Leak("Plugin.call"), starts_late),
        program("follows the load", Leak("Auth.check"), follows_load),
        program("one function, 480 call paths", Leak("Strings.copy"), many_callers),
        program("one method, ten places below it", Leak("Store.lookup"), many_below),
        program("thirty modules of one caller", Leak("Plugins.runAll"), many_modules),
        program("two leaks", Leak("Session.open"), two_leaks),
        program("one object made bigger", Leak("Journal.append"), realloc),
        program("faster and faster", Leak("Retry.queue"), grows_faster),
        program("a third of the streams stay open", Leak("Stream.open"), partly),
        program("workers that leave their buffers", Leak("Worker.buffers"), workers),
        torn_down(program("constant, freed at exit", Leak("Session.open"), constant)),
        torn_down(program("tiny, freed at exit", Leak("Listener.add"), tiny)),
        torn_down(program("bursts, freed at exit", Leak("Report.render"), bursts)),
        torn_down(program("under churn, freed at exit", Leak("Message.decode"), under_churn)),
        long_of(program("constant, 20 s", Leak("Session.open"), constant), 20.0),
        long_of(program("large, 40 s", Leak("Image.decode"), large), 40.0),
        long_of(program("constant, an hour", Leak("Session.open"), constant), 3600.0),
        long_of(program("tiny, ten minutes", Leak("Listener.add"), tiny), 600.0),
        long_of(program("under churn, ten minutes", Leak("Message.decode"), under_churn), 600.0),
        long_of(program("streams, ten minutes", Leak("Stream.open"), partly), 600.0),
        long_of(program("callers, four minutes", Leak("Strings.copy"), many_callers), 240.0),
        long_of(program("load, ten minutes", Leak("Auth.check"), follows_load), 600.0),
        long_of(program("kept beside collected, 75 s", Open, kept_beside_collected), 75.0),
        program("kept beside collected", Open, kept_beside_collected),
        program("a leak that stops", Held("Session.open"), stops),
        program("an index loaded once", Held("Index.load"), long_table),
        program("idle", Healthy, idle),
        program("steady", Healthy, steady),
        program("server", Healthy, server),
        program("warm-up", Healthy, warm_up),
        program("growth by the logarithm", Open, logarithm),
        program("LRU cache, full", Healthy, lru_full),
        program("LRU cache, random keys", Healthy, lru_random),
        program("a cache that fills", Open, fills_for_ever),
        program("pool", Healthy, pool),
        program("buffers of threads", Healthy, thread_buffers),
        program("sawtooth", Healthy, sawtooth),
        program("late collection", Healthy, late_collection),
        program("day and night", Healthy, day_and_night),
        program("ever busier", Healthy, ever_busier),
        program("backlog", Healthy, backlog),
        program("arena", Healthy, arena),
        program("JIT compiler", Healthy, jit),
        program("burst at the end", Open, burst_at_end),
        program("falls to nothing", Healthy, goes_to_nothing),
        program("sessions that expire", Healthy, sessions),
        program("retained", Healthy, retained),
        torn_down(program("server, ends", Healthy, server)),
        torn_down(program("sawtooth, ends", Healthy, sawtooth)),
        torn_down(program("LRU cache, ends", Healthy, lru_full)),
        long_of(program("server, 20 s", Healthy, server), 20.0),
        long_of(program("server, an hour", Healthy, server), 3600.0),
        long_of(program("steady, ten minutes", Healthy, steady), 600.0),
        long_of(program("day and night, ten minutes", Healthy, day_and_night), 600.0),
        long_of(program("warm-up, ten minutes", Healthy, warm_up), 600.0),
        long_of(program("late collection, ten minutes", Healthy, late_collection), 600.0),
        long_of(program("arena, ten minutes", Healthy, arena), 600.0),
        long_of(program("JIT, ten minutes", Healthy, jit), 600.0),
        long_of(program("sessions, ten minutes", Healthy, sessions), 600.0),
        long_of(program("pool, ten minutes", Healthy, pool), 600.0),
    ]
}

/// A steady server of 30 places for the simulator: 3 MiB a second, of objects that live from half a second to 30.
pub(crate) fn steady_process(w: &mut World, _: f64, step: f64) {
    for n in 0..30 {
        let name = format!("com/acme/Part{n} work");
        let size = 500.0 + 700.0 * f64::from(n);
        let place = w.at(&[name.as_str(), "com/acme/Server handle"], size);
        w.churn(place, 0.1 * MIB * step / size, 0.5 + f64::from(n), step);
    }
}

/// 100 MiB of tables, and little that moves.
pub(crate) fn quiet_process(w: &mut World, t: f64, step: f64) {
    let table = w.at(&["com/acme/Tables load", "com/acme/Server start"], 4.0 * KIB);
    if t < step / 2.0 {
        w.allocate(table, 100.0 * MIB / (4.0 * KIB), EVER, step.min(2.0));
    }
    let request = w.at(&["com/acme/Request read", "com/acme/Server handle"], 4.0 * KIB);
    w.churn(request, 20.0 * step, 0.5, step);
}

/// A leak of so many bytes a second.
pub(crate) fn leak_beside(w: &mut World, step: f64, rate: f64) {
    let place = w.at(&["com/acme/Session open", "com/acme/Server login"], 2000.0);
    w.allocate(place, rate * step / 2000.0, EVER, step);
}
