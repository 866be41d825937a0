//! Programs that were written after the verdict was made, of other kinds than those in `programs.rs`, before anybody
//! looked at how they are judged. How many were right at first sight says how far the others can be believed.

use crate::programs::{EVER, KIB, MIB, Program, STEP, Truth, server};
use crate::world::World;

const TEN_MINUTES: f64 = 600.0;

const fn program(name: &'static str, truth: Truth, life: f64, step: fn(&mut World, f64)) -> Program {
    Program { name, truth, life, tears_down: false, step }
}

/// Whether something that happens every so many seconds happens in this step.
fn is_time(t: f64, every: f64) -> bool {
    t % every < STEP
}

fn reconnects(w: &mut World, t: f64) {
    server(w, t);
    let context = w.at(&["com/acme/Tls context", "com/acme/Client connect", "com/acme/Client run"], 200.0 * KIB);
    if is_time(t, 15.0) {
        w.allocate(context, 1.0, EVER, STEP);
    }
}

/// A list that gets an entry all the time, in an array that is made half as large again when it is full.
fn list(w: &mut World, t: f64) {
    server(w, t);
    let capacity = |t: f64| {
        let mut capacity = 64.0 * KIB;
        while capacity < 64.0 * KIB * (1.0 + t) {
            capacity = (capacity * 1.5f64).round();
        }
        capacity
    };
    let (before, now) = (capacity(t - STEP), capacity(t));
    if t < STEP || before != now {
        let frames = ["com/acme/History grow", "com/acme/History add", "com/acme/Server handle"];
        let (old, new) = (w.at(&frames, before), w.at(&frames, now));
        w.free(old, 1.0);
        w.allocate(new, 1.0, EVER, 0.0);
    }
}

fn one_shard(w: &mut World, t: f64) {
    server(w, t);
    for n in 0..8 {
        let caller = format!("com/acme/Shard{n} write");
        let place = w.at(&["com/acme/Log append", caller.as_str(), "com/acme/Server handle"], 3.0 * KIB);
        w.churn(place, 80.0 * STEP, 1.0, STEP);
        if n == 5 {
            w.allocate(place, 20.0 * STEP, EVER, STEP);
        }
    }
}

fn redeploys(w: &mut World, t: f64) {
    server(w, t);
    for (part, size) in [("klass", 2000.0), ("method", 600.0), ("pool", 5000.0), ("code", 20_000.0)] {
        let leaf = format!("sun/meta/{part} allocate");
        let frames = [leaf.as_str(), "sun/meta/Loader define", "com/acme/Deploy start", "com/acme/Admin run"];
        let place = w.at(&frames, size);
        if is_time(t, 30.0) {
            w.allocate(place, 0.75 * MIB / size, EVER, STEP);
        }
    }
}

fn on_and_off(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Upload buffer", "com/acme/Server handle"], 10.0 * KIB);
    if t % 120.0 < 60.0 {
        w.allocate(place, 20.0 * STEP, EVER, STEP);
    }
}

fn hidden_by_a_cache_that_shrinks(w: &mut World, t: f64) {
    server(w, t);
    let cache = w.at(&["com/acme/Cache put", "com/acme/Server handle"], 4.0 * KIB);
    let leak = w.at(&["com/acme/Session open", "com/acme/Server login"], 2.0 * KIB);
    if t < 2.0 {
        w.allocate(cache, 100.0 * MIB / 4.0 / (4.0 * KIB), EVER, STEP);
    } else if is_time(t, 10.0) {
        w.free(cache, 0.04);
    }
    w.allocate(leak, 0.3 * MIB * STEP / (2.0 * KIB), EVER, STEP);
}

fn timers(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Timer schedule", "com/acme/Watch start"], 16.0 * KIB);
    if is_time(t, 1.0) {
        w.allocate(place, 1.0, EVER, STEP);
    }
}

fn recycled_workers(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Scratch make", "com/acme/Worker run"], 512.0 * KIB);
    if is_time(t, 6.0) {
        w.allocate(place, 1.0, 60.0, STEP);
    }
}

fn memtable(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Memtable put", "com/acme/Server handle"], 64.0 * KIB);
    if w.random() < STEP / 20.0 {
        w.free(place, 1.0);
    }
    w.allocate(place, 12.0 * STEP, EVER, STEP);
}

fn random_collections(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["java/nio/DirectByteBuffer <init>", "com/acme/Channel read"], 32.0 * KIB);
    if w.random() < STEP / 40.0 {
        let share = 0.6 + 0.4 * w.random();
        w.free(place, share);
    }
    w.allocate(place, 16.0 * STEP, EVER, STEP);
}

fn rehash(w: &mut World, t: f64) {
    server(w, t);
    let size = |t: f64| MIB * (t.max(10.0) / 10.0).log2().floor().exp2();
    let (before, now) = (size(t - STEP), size(t));
    if t < STEP || before != now {
        let frames = ["com/acme/Table rehash", "com/acme/Index put", "com/acme/Server handle"];
        let (old, new) = (w.at(&frames, before), w.at(&frames, now));
        w.free(old, 1.0);
        w.allocate(new, 1.0, EVER, 0.0);
    }
}

fn one_peak(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Export collect", "com/acme/Admin run"], 100.0 * KIB);
    if (400.0..405.0).contains(&t) {
        w.allocate(place, 200.0 * STEP, 405.0 - t, STEP);
    }
}

fn expires_after_five_minutes(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Token issue", "com/acme/Server login"], 4.0 * KIB);
    w.allocate(place, 40.0 * STEP, 300.0, STEP);
}

fn ramp(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Session open", "com/acme/Server login"], 8.0 * KIB);
    w.churn(place, (10.0 + t / 30.0) * STEP, 60.0, STEP);
}

fn some_never_expire(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Session open", "com/acme/Server login"], 8.0 * KIB);
    w.allocate(place, 60.0 * STEP, 30.0, STEP);
    w.allocate(place, 2.0 * STEP, EVER, STEP);
}

fn reloads(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Config parse", "com/acme/Config reload"], 1000.0);
    if is_time(t, 60.0) {
        w.free(place, 1.0);
        w.allocate(place, 5.0 * MIB / 1000.0, EVER, STEP);
    }
}

fn reloads_and_keeps(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Config parse", "com/acme/Config reload"], 1000.0);
    if is_time(t, 60.0) {
        w.allocate(place, 5.0 * MIB / 1000.0, EVER, STEP);
    }
}

fn large_start(w: &mut World, t: f64) {
    server(w, t);
    let tables = w.at(&["com/acme/Corpus load", "com/acme/Server start"], 64.0 * KIB);
    if t < 20.0 {
        w.allocate(tables, 20.0 * MIB * STEP / (64.0 * KIB), EVER, STEP);
    }
    let place = w.at(&["com/acme/Context push", "com/acme/Server handle"], 700.0);
    w.allocate(place, 60.0 * KIB * STEP / 700.0, EVER, STEP);
}

fn interns(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Names intern", "com/acme/Server handle"], 400.0);
    let new = (-t / 60.0).exp() - (-(t + STEP) / 60.0).exp();
    w.allocate(place, 40.0 * MIB * new / 400.0, EVER, STEP);
}

fn two_phases(w: &mut World, t: f64) {
    server(w, t);
    let (map, reduce) = (
        w.at(&["com/acme/Map emit", "com/acme/Job run"], 32.0 * KIB),
        w.at(&["com/acme/Reduce merge", "com/acme/Job run"], 32.0 * KIB),
    );
    if t < 40.0 {
        w.allocate(map, 64.0 * STEP, 300.0 - t, STEP);
    }
    if (300.0..340.0).contains(&t) {
        w.allocate(reduce, 64.0 * STEP, EVER, STEP);
    }
}

fn consumer_dies(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Queue offer", "com/acme/Server handle"], 6.0 * KIB);
    w.allocate(place, 30.0 * STEP, if t < 300.0 { 1.5 } else { EVER }, STEP);
}

fn labels(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Metric label", "com/acme/Server handle"], 300.0);
    w.allocate(place, 30.0 * STEP, EVER, STEP);
}

fn shrinks_back(w: &mut World, t: f64) {
    server(w, t);
    let place = w.at(&["com/acme/Pool borrow", "com/acme/Server handle"], 256.0 * KIB);
    if t < 80.0 {
        w.allocate(place, 2.0 * STEP, EVER, STEP);
    } else if is_time(t, 60.0) {
        w.free(place, 0.2);
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Program> {
    use Truth::{Healthy, Leak, Open};
    vec![
        program("a context each reconnect", Leak("Tls.context"), TEN_MINUTES, reconnects),
        program("a list that grows by half", Open, TEN_MINUTES, list),
        program("one shard of eight", Leak("Log.append"), 300.0, one_shard),
        program("a loader each redeploy", Leak("Deploy.start"), TEN_MINUTES, redeploys),
        program("every other minute", Leak("Upload.buffer"), TEN_MINUTES, on_and_off),
        program("hidden by a cache that shrinks", Leak("Session.open"), 300.0, hidden_by_a_cache_that_shrinks),
        program("a timer each second", Leak("Timer.schedule"), TEN_MINUTES, timers),
        program("workers that are replaced", Healthy, TEN_MINUTES, recycled_workers),
        program("a memtable flushed at random", Healthy, TEN_MINUTES, memtable),
        program("buffers until a collection at random", Healthy, TEN_MINUTES, random_collections),
        program("a table that doubles", Open, TEN_MINUTES, rehash),
        program("one peak", Healthy, TEN_MINUTES, one_peak),
        program("tokens of five minutes, twenty minutes", Healthy, 1200.0, expires_after_five_minutes),
        program("tokens of five minutes, four minutes", Open, 240.0, expires_after_five_minutes),
        program("a ramp of load", Healthy, 1800.0, ramp),
        program("one of thirty sessions never expires", Leak("Session.open"), TEN_MINUTES, some_never_expire),
        program("a configuration read again", Healthy, TEN_MINUTES, reloads),
        program("a configuration read again and kept", Leak("Config.parse"), TEN_MINUTES, reloads_and_keeps),
        program("slow, after a large start", Leak("Context.push"), TEN_MINUTES, large_start),
        program("names of a bounded set", Healthy, TEN_MINUTES, interns),
        program("a job of two phases", Healthy, TEN_MINUTES, two_phases),
        program("a consumer that dies", Leak("Queue.offer"), TEN_MINUTES, consumer_dies),
        program("labels of metrics", Leak("Metric.label"), TEN_MINUTES, labels),
        program("a pool that shrinks back", Healthy, TEN_MINUTES, shrinks_back),
    ]
}
