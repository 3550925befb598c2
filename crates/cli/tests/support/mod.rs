//! A node in a directory of its own, and the program run on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A node in a directory, removed at the end.
pub struct Node(pub PathBuf);

impl Node {
    /// An empty one.
    pub fn new(name: &str) -> Node {
        let root = std::env::temp_dir().join(format!("edgekeep-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        Node(root)
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    pub fn run(&self, words: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgekeep"));
        command.args(words.split_whitespace()).arg("--root").arg(&self.0).output().unwrap()
    }

    /// The exit code and what was said.
    pub fn say(&self, words: &str) -> (i32, String) {
        let Output { status, stdout, stderr } = self.run(words);
        (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    /// Every file of the node and what is in it, but for what was kept of it.
    pub fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() && !path.is_symlink() {
                    true => walk(&path, found),
                    false => found.push((path.clone(), fs::read(&path).unwrap_or_default())),
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.0, &mut found);
        found.retain(|(path, _)| !path.to_string_lossy().contains("var/lib/edgekeep/adopt"));
        found.sort();
        found
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
