//! Stacks as they come up in programs: callbacks, threads, signals, coroutines, exceptions, garbage.
#![allow(unsafe_code)]
#![allow(clippy::undocumented_unsafe_blocks, reason = "calls of libc with values made on the line before")]

use core::ffi::{CStr, c_int, c_void};
use core::ptr;
use std::cell::{Cell, RefCell};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Comparison, compare, frame_in, windows};
use crate::tap::code_address::{LookupAddress, ReturnAddress};
use crate::tap::stack::{MAX_FRAMES, Registers, StackBounds, StackTrace};
use crate::tap::unwind::refusal::Refusal;
use crate::tap::unwind::{
    StackCache, Stop, capture_here, forget_objects, leave_own_frames, own_object, pass_by_frame_pointer, stack_bounds,
    walk,
};
use crate::tap::unwind::{arch, cfi, objects};
use crate::wire::stack_end::StackEnd;

thread_local! {
    static SEEN: RefCell<Option<Box<Comparison>>> = const { RefCell::new(None) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn see() {
    SEEN.with_borrow_mut(|seen| *seen = Some(Box::new(compare())));
    CALLS.set(CALLS.get() + 1);
}

/// What a callback saw since the last call.
fn seen() -> Box<Comparison> {
    SEEN.take().expect("the callback ran")
}

extern "C" fn see_and_order(left: *const c_void, right: *const c_void) -> c_int {
    see();
    unsafe { *left.cast::<u8>() }.cmp(&unsafe { *right.cast::<u8>() }) as c_int
}

#[test]
fn callbacks_of_libc_are_passed() {
    compare().check("plain");
    let mut bytes = [3_u8, 1, 2];
    unsafe { libc::qsort(bytes.as_mut_ptr().cast(), 3, 1, Some(see_and_order)) };
    let sorting = seen();
    sorting.check("qsort");
    assert!(frame_in(&sorting, libc::qsort as *const () as usize).is_some() || sorting.ours.pcs().len() > 5);
    unsafe { libc::bsearch(bytes.as_ptr().cast(), bytes.as_ptr().cast(), 3, 1, Some(see_and_order)) };
    seen().check("bsearch");
}

#[test]
fn initialisers_that_libc_runs_once_are_passed() {
    unsafe extern "C" {
        fn pthread_once(control: *mut c_int, routine: extern "C" fn()) -> c_int;
    }
    extern "C" fn routine() {
        see();
    }
    let mut control = 0;
    unsafe { pthread_once(&mut control, routine) };
    seen().check("pthread_once");
}

#[test]
fn functions_that_run_at_exit_are_passed() {
    extern "C" fn at_exit() {
        let status = if compare().agrees() { 42 } else { 1 };
        unsafe { libc::_exit(status) };
    }
    let child = unsafe { libc::fork() };
    if child == 0 {
        unsafe { libc::atexit(at_exit) };
        unsafe { libc::exit(3) };
    }
    let mut status = 0;
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!((libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, 42));
}

#[test]
fn every_thread_ends_at_its_root() {
    let walked = thread::spawn(compare).join().expect("runs");
    walked.check("thread");
    // The last frame is the one that the kernel started: nothing of ours.
    let (start, end) = own_object();
    let root = *walked.ours.pcs().last().expect("has frames") as usize;
    assert!(root < start || root >= end);
}

fn function(library: &CStr, name: &CStr) -> *mut c_void {
    let library = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null());
    let function = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!function.is_null());
    function
}

/// Calls `operator new(size_t, nothrow)` so that it fails: it calls our handler, then throws and catches.
fn fail_to_allocate() {
    type SetHandler = unsafe extern "C" fn(Option<unsafe extern "C" fn()>) -> *mut c_void;
    type New = unsafe extern "C" fn(usize, *const u8) -> *mut c_void;
    static SET_HANDLER: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn handler() {
        see();
        let set = unsafe { core::mem::transmute::<usize, SetHandler>(SET_HANDLER.load(Ordering::Relaxed)) };
        unsafe { set(None) };
    }
    // The handler is the process's, not the thread's.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let set = function(c"libstdc++.so.6", c"_ZSt15set_new_handlerPFvvE");
    SET_HANDLER.store(set as usize, Ordering::Relaxed);
    let set = unsafe { core::mem::transmute::<*mut c_void, SetHandler>(set) };
    let new = function(c"libstdc++.so.6", c"_ZnwmRKSt9nothrow_t");
    let new = unsafe { core::mem::transmute::<*mut c_void, New>(new) };
    unsafe { set(Some(handler)) };
    assert!(unsafe { new(1 << 62, ptr::null()) }.is_null());
}

#[test]
fn the_cpp_runtime_is_passed() {
    fail_to_allocate();
    let failing = seen();
    failing.check("operator new");
    let new = function(c"libstdc++.so.6", c"_Znwm") as usize;
    assert!(frame_in(&failing, new).is_some());
}

extern "C" fn on_signal(_: c_int) {
    see();
}

fn handle(signal: c_int, flags: c_int, handler: extern "C" fn(c_int)) {
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = flags;
    assert_eq!(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) }, 0);
}

#[test]
fn signal_handlers_are_left_through_the_interrupted_function() {
    handle(libc::SIGUSR1, 0, on_signal);
    unsafe { libc::raise(libc::SIGUSR1) };
    let handled = seen();
    handled.check("signal");
    assert!(handled.ours.pcs().len() > 6);
}

#[test]
fn handlers_on_their_own_stack_are_left_to_the_threads_stack() {
    thread::spawn(|| {
        let mut memory = vec![0_u8; 128 * 1024];
        let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
        assert_eq!(unsafe { libc::sigaltstack(&stack, ptr::null_mut()) }, 0);
        handle(libc::SIGUSR2, libc::SA_ONSTACK, on_signal);
        unsafe { libc::raise(libc::SIGUSR2) };
        seen().check("signal stack");
        let off = libc::stack_t { ss_flags: libc::SS_DISABLE, ..stack };
        assert_eq!(unsafe { libc::sigaltstack(&off, ptr::null_mut()) }, 0);
    })
    .join()
    .expect("runs");
}

#[inline(never)]
fn compare_on_heap() -> Box<Comparison> {
    Box::new(compare())
}

#[inline(never)]
fn recurse(depth: usize) -> Box<Comparison> {
    if depth == 0 {
        return compare_on_heap();
    }
    let deeper = recurse(depth - 1);
    std::hint::black_box(depth);
    deeper
}

#[test]
fn a_deep_stack_is_cut_at_the_root_end() {
    let deep = recurse(600);
    assert_eq!((deep.stop, deep.ours.end(), deep.ours.pcs().len()), (Stop::Ended, StackEnd::TooDeep, MAX_FRAMES));
    let leaf = deep.callers().collect::<Vec<u64>>();
    assert!(deep.theirs.pcs().windows(leaf.len()).any(|frames| frames == leaf));
    recurse(100).check("less deep");
}

#[test]
fn a_thread_with_the_smallest_stack_is_walked_to_its_root() {
    extern "C" fn routine(trace: *mut c_void) -> *mut c_void {
        let mut at = capture_here();
        let mut cache = StackCache::default();
        let trace = unsafe { &mut *trace.cast::<StackTrace>() };
        let mut bounds = cache.bounds(at.sp);
        assert!(bounds.is_own());
        walk(&mut at, &mut bounds, &mut windows(), trace, true);
        ptr::null_mut()
    }
    let mut trace = Box::new(StackTrace::new(MAX_FRAMES));
    let mut attributes: libc::pthread_attr_t = unsafe { core::mem::zeroed() };
    let mut thread = 0;
    unsafe { libc::pthread_attr_init(&mut attributes) };
    // The static TLS of this executable does not leave enough of PTHREAD_STACK_MIN for glibc's taste.
    let size = libc::PTHREAD_STACK_MIN + 8192;
    assert_eq!(unsafe { libc::pthread_attr_setstacksize(&mut attributes, size) }, 0);
    let argument = (&raw mut *trace).cast();
    assert_eq!(unsafe { libc::pthread_create(&mut thread, &attributes, routine, argument) }, 0);
    unsafe { libc::pthread_join(thread, ptr::null_mut()) };
    // routine, start_thread, clone3
    assert_eq!((trace.end(), trace.pcs().len()), (StackEnd::Root, 3));
}

/// Runs `routine` as a coroutine on this memory.
fn coroutine(memory: *mut c_void, size: usize, routine: extern "C" fn()) {
    let mut back: libc::ucontext_t = unsafe { core::mem::zeroed() };
    let mut context: libc::ucontext_t = unsafe { core::mem::zeroed() };
    assert_eq!(unsafe { libc::getcontext(&mut context) }, 0);
    context.uc_stack = libc::stack_t { ss_sp: memory, ss_flags: 0, ss_size: size };
    context.uc_link = &mut back;
    unsafe { libc::makecontext(&mut context, routine, 0) };
    assert_eq!(unsafe { libc::swapcontext(&mut back, &context) }, 0);
}

fn map(size: usize, protection: c_int) -> *mut c_void {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let memory = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    memory
}

#[test]
fn coroutines_are_walked_to_where_they_began() {
    extern "C" fn routine() {
        recurse_and_see(40);
    }
    #[inline(never)]
    fn recurse_and_see(depth: usize) {
        let large = std::hint::black_box([depth as u8; 4096]);
        if depth == 0 {
            see();
        } else {
            recurse_and_see(depth - 1);
        }
        std::hint::black_box(large);
    }
    // Many pages, each of which is copied on the way.
    let size = 1024 * 1024;
    let memory = map(size, libc::PROT_READ | libc::PROT_WRITE);
    coroutine(memory, size, routine);
    let walked = seen();
    walked.check("coroutine");
    assert!(walked.ours.pcs().len() > 40);
    unsafe { libc::munmap(memory, size) };
}

/// The stack that a coroutine's lies below goes, and with it what was readable up to a known end; then a frame whose
/// rule leads there, out of a stack that nobody vouches for.
#[test]
fn a_rule_that_leads_out_of_a_foreign_stack_ends_the_walk() {
    let size = 64 * 1024;
    let memory = map(2 * size, libc::PROT_READ | libc::PROT_WRITE);
    let end = memory as usize + size;
    unsafe { libc::munmap(end as *mut c_void, size) };
    let mut ends = std::collections::HashMap::new();
    for pc in (libc::qsort as *const () as usize..).step_by(3).take(400) {
        let mut at = Registers { pc: ReturnAddress::new(pc), sp: end - 16, fp: end + 64 };
        let mut trace = StackTrace::new(MAX_FRAMES);
        walk(&mut at, &mut stack_bounds(end - 16), &mut windows(), &mut trace, true);
        *ends.entry(trace.end()).or_insert(0) += 1;
    }
    assert!(ends.contains_key(&StackEnd::Unreadable), "{ends:?}");
    unsafe { libc::munmap(memory, size) };
}

/// Tables that are read through the kernel say what they say when they are read plainly.
#[test]
fn rules_by_copied_tables_are_those_of_the_tables() {
    let mut windows = windows();
    let libc = libc::qsort as *const () as usize;
    let (mut rules, mut refused) = (0, 0);
    for pc in (libc - 0x8000..libc + 0x8000)
        .step_by(7)
        .chain((function(c"libstdc++.so.6", c"_Znwm") as usize..).step_by(11).take(4000))
    {
        let object = objects::find(LookupAddress::inside(pc)).expect("loaded");
        let plain = object
            .with_tables(|tables| cfi::rule_for(tables, LookupAddress::inside(pc), &arch::CPU))
            .expect("has tables");
        windows.begin();
        let header = object.tables.expect("has tables").header;
        match (plain, cfi::rule_through(&mut windows, header, LookupAddress::inside(pc), &arch::CPU)) {
            (_, Err(Refusal::Unchecked)) => return,
            (Err(_), Err(_)) => refused += 1,
            (plain, copied) => {
                assert_eq!(plain, copied, "{pc:#x}");
                rules += 1;
            }
        }
    }
    assert!(rules > 10_000 && refused < 2000, "{rules} and {refused}");
}

#[test]
fn libraries_that_come_and_go_leave_no_stale_rules() {
    const LIBRARIES: [&CStr; 4] = [c"libstdc++.so.6", c"libz.so.1", c"libm.so.6", c"libresolv.so.2"];
    let storms: Vec<_> = (0..2)
        .map(|number| {
            thread::spawn(move || {
                for round in 0..60 {
                    let name = LIBRARIES[(number + round) % LIBRARIES.len()];
                    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
                    fail_to_allocate();
                    seen().check("storm");
                    if !library.is_null() {
                        forget_objects();
                        unsafe { libc::dlclose(library) };
                        forget_objects();
                    }
                }
            })
        })
        .collect();
    for storm in storms {
        storm.join().expect("no difference");
    }
}

/// A stack of our own that ends at an unreadable page, and a pc in the middle of a libc function.
fn walk_garbage(words: &[usize], registers: Registers) -> (Stop, StackTrace) {
    let low = words.as_ptr() as usize;
    let bounds = StackBounds { low, high: low + size_of_val(words) };
    let (mut at, mut trace) = (registers, StackTrace::new(MAX_FRAMES));
    (walk(&mut at, &mut { bounds }, &mut windows(), &mut trace, true), trace)
}

#[test]
fn a_wild_frame_pointer_ends_the_walk() {
    let frame_based = |at: &Registers| {
        let (stop, trace) = walk_garbage(&[0; 64], *at);
        (stop, trace.end())
    };
    // Any function of ours in debug builds and most in libc use fp nowhere: find one that does by trying.
    let sp = [0_usize; 64].as_ptr() as usize;
    for fp in [0, 8, 0x4141_4141_4141_4141, usize::MAX, sp - 8] {
        for pc in (libc::qsort as *const () as usize..).step_by(3).take(400) {
            let (stop, end) = frame_based(&Registers { pc: ReturnAddress::new(pc), sp, fp });
            assert!(stop != Stop::Ended || end != StackEnd::NotWalked, "fp {fp:#x}");
        }
    }
}

/// xorshift: deterministic noise.
fn noise(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state as usize
}

#[test]
fn random_stacks_never_fault() {
    let mut state = 0x1234_5678_9abc_def1;
    let mut words = vec![0_usize; 512];
    let low = words.as_ptr() as usize;
    let code = [
        libc::qsort as *const () as usize,
        libc::printf as *const () as usize,
        libc::dlopen as *const () as usize,
        walk_garbage as *const () as usize,
    ];
    let mut ends = std::collections::HashMap::new();
    for _ in 0..20_000 {
        for word in &mut words {
            let random = noise(&mut state);
            *word = match random % 4 {
                0 => code[random / 4 % code.len()] + noise(&mut state) % 0x8000,
                1 => (low + noise(&mut state) % 4096) & !7,
                2 => 0,
                _ => noise(&mut state),
            };
        }
        let pc = code[noise(&mut state) % code.len()] + noise(&mut state) % 0x8000;
        let at = Registers {
            pc: ReturnAddress::new(pc),
            sp: (low + noise(&mut state) % 1024) & !7,
            fp: low + noise(&mut state) % 8192,
        };
        let (stop, trace) = walk_garbage(&words, at);
        *ends.entry((stop == Stop::Foreign, trace.end())).or_insert(0) += 1;
        let bounds = StackBounds { low, high: low + 4096 };
        pass_by_frame_pointer(&mut { at }, &bounds, &mut windows(), &mut StackTrace::new(MAX_FRAMES));
    }
    assert!(ends.keys().any(|(_, end)| *end == StackEnd::BadStack), "{ends:?}");
    assert!(ends.keys().any(|(foreign, _)| *foreign), "{ends:?}");
}

#[test]
fn our_own_frames_are_left_for_the_application() {
    extern "C" fn order(_: *const c_void, _: *const c_void) -> c_int {
        let mut at = capture_here();
        let bounds = stack_bounds(at.sp);
        assert!(leave_own_frames(&mut at, &bounds, &mut windows()));
        let (start, end) = own_object();
        assert!(!(start..end).contains(&at.pc.address()), "in libc's sort");
        let mut trace = StackTrace::new(MAX_FRAMES);
        walk(&mut at, &mut { bounds }, &mut windows(), &mut trace, false);
        let all = compare();
        let from_sort = &all.ours.pcs()[all.ours.pcs().len() - trace.pcs().len()..];
        assert_eq!((trace.pcs(), trace.end()), (from_sort, StackEnd::Root));
        CALLS.set(CALLS.get() + 1);
        0
    }
    CALLS.set(0);
    let mut bytes = [3_u8, 1];
    unsafe { libc::qsort(bytes.as_mut_ptr().cast(), 2, 1, Some(order)) };
    assert_eq!(CALLS.get(), 1);
}

/// Generated code that keeps a frame pointer, as JavaScript engines do: `push rbp; mov rbp, rsp;
/// sub rsp, 48; call rdi; leave; ret`.
#[cfg(target_arch = "x86_64")]
#[test]
fn generated_code_with_frame_pointers_is_stepped_over() {
    const CODE: [u8; 12] = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x30, 0xff, 0xd7, 0xc9, 0xc3];
    extern "C" fn callback() {
        let mut at = capture_here();
        let bounds = stack_bounds(at.sp);
        let mut trace = StackTrace::new(MAX_FRAMES);
        assert_eq!(walk(&mut at, &mut { bounds }, &mut windows(), &mut trace, true), Stop::Foreign);
        let wild = Registers { fp: at.sp, ..at };
        assert!(trace.push(at.pc.in_trace(false)));
        assert!(!pass_by_frame_pointer(&mut { wild }, &bounds, &mut windows(), &mut trace), "no chain, no step");
        assert!(pass_by_frame_pointer(&mut at, &bounds, &mut windows(), &mut trace));
        assert_eq!(walk(&mut at, &mut { bounds }, &mut windows(), &mut trace, false), Stop::Ended);
        assert_eq!(trace.end(), StackEnd::Root);
        CALLS.set(trace.pcs().len());
    }
    generated_code(&CODE)(callback);
    // callback, generated, and what a plain comparison sees from here, less its own frame.
    assert_eq!(CALLS.get(), compare().ours.pcs().len() + 1);
}

/// Puts code into executable memory: a function that is given another one.
#[cfg(target_arch = "x86_64")]
fn generated_code(code: &[u8]) -> extern "C" fn(extern "C" fn()) {
    let memory = map(4096, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC);
    unsafe { ptr::copy_nonoverlapping(code.as_ptr(), memory.cast(), code.len()) };
    unsafe { core::mem::transmute(memory) }
}

/// Generated code, `ud2; ret`, interrupted: its handler runs on an alternate stack, and leaps over the two bytes.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_walk_that_stops_behind_a_signal_frame_knows_the_stack_that_it_is_on() {
    extern "C" fn handler(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
        let mut at = capture_here();
        let mut bounds = stack_bounds(at.sp);
        let on_handlers = bounds;
        let mut trace = StackTrace::new(MAX_FRAMES);
        let stop = walk(&mut at, &mut bounds, &mut windows(), &mut trace, true);
        let moved = !on_handlers.is_own() && bounds.holds_word(at.sp);
        CALLS.set(usize::from(stop == Stop::Foreign && moved));
        let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
        context.uc_mcontext.gregs[libc::REG_RIP as usize] += 2;
    }
    extern "C" fn nothing() {}
    let size = 64 * 1024;
    let alternate = libc::stack_t { ss_sp: map(size, libc::PROT_READ | libc::PROT_WRITE), ss_flags: 0, ss_size: size };
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let mut before: libc::sigaction = unsafe { core::mem::zeroed() };
    let mut stack_before: libc::stack_t = unsafe { core::mem::zeroed() };
    unsafe { libc::sigaltstack(&alternate, &mut stack_before) };
    unsafe { libc::sigaction(libc::SIGILL, &action, &mut before) };
    CALLS.set(0);
    generated_code(&[0x0f, 0x0b, 0xc3])(nothing);
    unsafe { libc::sigaction(libc::SIGILL, &before, ptr::null_mut()) };
    unsafe { libc::sigaltstack(&stack_before, ptr::null_mut()) };
    assert_eq!(CALLS.get(), 1);
}
