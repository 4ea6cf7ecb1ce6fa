//! Which requests were carried out, over all backends: how duplicates are found.
//!
//! One append-only file that any number of backends, threads or processes write to, a line for each request that a
//! backend read whole: `METHOD id backend`. A line is one `write` with O_APPEND, so lines never mix, and it is written
//! before anything is answered, so a backend that is killed in between has still confessed. A request counts as
//! carried out however the backend answers afterwards: the worst case, and the one that matters.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file, open for appending.
#[derive(Debug)]
pub struct Executions {
    path: PathBuf,
    file: File,
}

impl Executions {
    /// Opens or creates it.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Executions> {
        let path = path.into();
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        Ok(Executions { path, file })
    }

    /// Where it is, for other processes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes a request. An id with blanks or line ends would forge lines: those become underscores.
    pub fn note(&self, method: &str, id: &str, backend: &str) -> io::Result<()> {
        let id: String = id.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect();
        (&self.file).write_all(format!("{method} {id} {backend}\n").as_bytes())
    }

    /// All requests of a method: id, and the backends that carried it out, in order.
    pub fn of(&self, method: &str) -> io::Result<BTreeMap<String, Vec<String>>> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in std::fs::read_to_string(&self.path)?.lines() {
            let mut words = line.split(' ');
            if words.next() != Some(method) {
                continue;
            }
            match (words.next(), words.next()) {
                // Requests without an id can't be told apart.
                (Some(id), Some(backend)) if !id.is_empty() => {
                    all.entry(id.to_owned()).or_default().push(backend.to_owned());
                }
                _ => {}
            }
        }
        Ok(all)
    }

    /// The POSTs that were carried out more than once, with their backends.
    pub fn duplicated_posts(&self) -> io::Result<BTreeMap<String, Vec<String>>> {
        let mut posts = self.of("POST")?;
        posts.retain(|_, backends| backends.len() > 1);
        Ok(posts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn duplicates_are_found_over_several_writers() {
        let scratch = Scratch::new("executions");
        let a = Executions::open(scratch.path().join("log")).unwrap();
        let b = Executions::open(scratch.path().join("log")).unwrap();
        a.note("POST", "1", "a").unwrap();
        b.note("POST", "2", "b").unwrap();
        a.note("GET", "3", "a").unwrap();
        b.note("GET", "3", "b").unwrap();
        assert!(a.duplicated_posts().unwrap().is_empty());
        b.note("POST", "1", "b").unwrap();
        let found = a.duplicated_posts().unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("1".into(), vec!["a".to_owned(), "b".to_owned()])]);
        assert_eq!(a.of("GET").unwrap()["3"].len(), 2);
    }
}
