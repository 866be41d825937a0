//! A folder for one test: unique, removed when the test is over, kept (and named) when it failed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process, thread};

/// Numbers the folders of this process; only uniqueness matters, so no ordering is needed.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder that lives as long as this value.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes an empty folder below the system's temporary one; `purpose` is part of its name.
    pub(crate) fn new(purpose: &str) -> Folder {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("heaptap-test-{}-{number}-{purpose}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Folder { path },
                // A test that failed left it, in a process that had our number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("making {}: {error}", path.display()),
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it and returns the file's path.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let file = self.path.join(name);
        fs::write(&file, content).unwrap_or_else(|error| panic!("writing {}: {error}", file.display()));
        file
    }

    /// Makes (once) a folder inside it and returns its path.
    pub(crate) fn subfolder(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("making {}: {error}", path.display()));
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("kept for a look: {}", self.path.display());
        } else {
            // A file that cannot be removed costs a little space below the temporary folder, nothing else.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
