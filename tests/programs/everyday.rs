//! Everyday Rust: collections, strings, threads, channels, a panic that is caught, a child.

use std::collections::{BTreeMap, HashMap};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

fn words(worker: usize) -> BTreeMap<String, usize> {
    let mut count = HashMap::new();
    for n in 0..20_000 {
        *count.entry(format!("word{}", n * worker % 997)).or_insert(0) += 1;
    }
    count.into_iter().collect()
}

fn main() {
    let (sender, receiver) = mpsc::channel();
    let threads: Vec<_> = (1..5)
        .map(|worker| {
            let sender = sender.clone();
            thread::spawn(move || sender.send((worker, words(worker))).unwrap())
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut results: Vec<_> = receiver.try_iter().collect();
    results.sort();
    for (worker, words) in &results {
        println!("{worker} {} {:?}", words.len(), words.iter().next());
    }
    let caught = thread::spawn(|| std::panic::resume_unwind(Box::new(String::from("caught")))).join();
    println!("{:?}", caught.unwrap_err().downcast_ref::<String>());
    let output = Command::new("sh").args(["-c", "echo child; exit 5"]).output().unwrap();
    println!("{} {:?}", String::from_utf8_lossy(&output.stdout).trim(), output.status.code());
}
