//! What the program's own allocator keeps, in a sentence, and what would give it back.

use super::layout::clean;
use super::units::bytes;
use crate::cli::analyze::kept::Kept;

/// `Of 3.10 GiB that malloc took, glibc keeps 2.40 GiB free, in 54 arenas: …`. `None`: it is not worth telling.
pub(crate) fn sentence(kept: &Kept, pid: Option<u32>) -> Option<String> {
    let (all, free) = kept.much()?;
    let name = if kept.is_glibc() { "glibc".to_owned() } else { clean(&kept.allocator) };
    let arenas = match kept.arenas {
        Some(1) | None => String::new(),
        Some(arenas) => format!(", in {arenas} arenas"),
    };
    let mut cures = vec![format!("`heaptap trim {}`", pid.map_or("PID".to_owned(), |pid| pid.to_string()))];
    if kept.is_glibc() && kept.arenas.is_none_or(|arenas| arenas > 1) {
        cures.push("MALLOC_ARENA_MAX=2".into());
    }
    if kept.is_glibc() && kept.is_jvm {
        cures.push("-XX:TrimNativeHeapInterval=5000 (JDK 17.0.9, 21.0.1 and later)".into());
    }
    cures.push("heaptap's own allocator (without prof_allocator:keep)".into());
    let last = cures.pop().unwrap_or_default();
    Some(format!(
        "Of {} that malloc took, {name} keeps {} free{arenas}: {} or {last} gives back what lies in whole pages",
        bytes(all as f64),
        bytes(free as f64),
        cures.join(", "),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_told_with_what_gives_it_back() {
        let kept = Kept {
            allocator: "libc.so.6".into(),
            in_use_bytes: Some(700 << 20),
            kept_bytes: Some(2400 << 20),
            arenas: Some(54),
            is_jvm: true,
        };
        let told = sentence(&kept, Some(77)).unwrap();
        assert!(
            told.starts_with(
                "Of 3.03 GiB that malloc took, glibc keeps 2.34 GiB free, in 54 arenas: `heaptap trim 77`"
            )
        );
        assert!(told.contains("MALLOC_ARENA_MAX=2") && told.contains("TrimNativeHeapInterval"), "{told}");
        let other = Kept { allocator: "libtcmalloc.so.4".into(), arenas: None, is_jvm: false, ..kept.clone() };
        let told = sentence(&other, None).unwrap();
        assert!(told.contains("libtcmalloc.so.4 keeps 2.34 GiB free: `heaptap trim PID` or heaptap's own"), "{told}");
        for kept_bytes in [Some(10 << 20), Some(100 << 20), None] {
            assert_eq!(sentence(&Kept { kept_bytes, ..kept.clone() }, None), None, "{kept_bytes:?}");
        }
    }
}
