//! The record of what held and what did not: one line for each check as it is made, and a closing line.

use std::time::Instant;

use anyhow::Result;

/// Counts checks. A check that failed does not end the run: the next ones still tell something.
pub struct Checks {
    began: Instant,
    passed: usize,
    failed: usize,
}

impl Checks {
    /// An empty record; times are counted from here.
    pub fn new() -> Self {
        Self { began: Instant::now(), passed: 0, failed: 0 }
    }

    /// Records that `claim` held, with the detail of `outcome`, or failed, with its error.
    pub fn record(&mut self, claim: &str, outcome: Result<String>) {
        let seconds = self.began.elapsed().as_secs_f32();
        match outcome {
            Ok(detail) => {
                self.passed += 1;
                println!("ok    {seconds:6.1}s  {claim}: {detail}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAIL  {seconds:6.1}s  {claim}: {error:#}");
            }
        }
    }

    /// Prints a line that is not a check, in step with the others.
    pub fn note(&self, text: &str) {
        println!("--    {:6.1}s  {text}", self.began.elapsed().as_secs_f32());
    }

    /// How many checks have failed so far.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Prints the closing line. True if at least one check was made and every one held.
    pub fn close(&self) -> bool {
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}
