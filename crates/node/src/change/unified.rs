//! The difference of two texts, line by line, as `diff -u` writes it.

use std::fmt::Write as _;

/// So many lines that stay are shown around each change.
const CONTEXT: usize = 3;
/// Up to this product of their lengths, the shortest difference of two texts is looked for: configuration is far shorter.
const MOST: usize = 1 << 22;

/// A line that stays (' '), goes ('-') or comes ('+').
type Step<'a> = (char, &'a str);

/// What makes `new` of `old`, under these names; empty if nothing does.
pub fn unified(old: &str, new: &str, names: (&str, &str)) -> String {
    let lines = |text| str::split_inclusive(text, '\n').collect::<Vec<_>>();
    let steps = steps(&lines(old), &lines(new));
    let changes: Vec<usize> = (0..).zip(&steps).filter(|(_, step)| step.0 != ' ').map(|(at, _)| at).collect();
    let mut out = String::new();
    for group in changes.chunk_by(|one, next| next - one <= 2 * CONTEXT + 1) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        if out.is_empty() {
            out = format!("--- {}\n+++ {}\n", names.0, names.1);
        }
        let start = first.saturating_sub(CONTEXT);
        let end = (last + CONTEXT + 1).min(steps.len());
        let (before, from) = steps.split_at_checked(start).unwrap_or_default();
        hunk(&mut out, before, from.get(..end - start).unwrap_or_default());
    }
    out
}

fn hunk(out: &mut String, before: &[Step<'_>], steps: &[Step<'_>]) {
    let side = |other: char| {
        let count = |steps: &[Step<'_>]| steps.iter().filter(|step| step.0 != other).count();
        match (count(before), count(steps)) {
            // Of nothing the place is that of the line before.
            (line, 0) => format!("{line},0"),
            (line, 1) => format!("{}", line + 1),
            (line, count) => format!("{},{count}", line + 1),
        }
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "@@ -{} +{} @@", side('+'), side('-'));
    for (sign, line) in steps {
        out.push(*sign);
        out.push_str(line);
        if !line.ends_with('\n') {
            out.push_str("\n\\ No newline at end of file\n");
        }
    }
}

fn steps<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Step<'a>> {
    let head = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let (stay, old) = old.split_at_checked(head).unwrap_or_default();
    let new = new.get(head..).unwrap_or_default();
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(one, other)| one == other).count();
    let (old, stay_too) = old.split_at_checked(old.len() - tail).unwrap_or_default();
    let new = new.get(..new.len() - tail).unwrap_or_default();
    let mut steps: Vec<Step<'a>> = stay.iter().map(|line| (' ', *line)).collect();
    between(&mut steps, old, new);
    steps.extend(stay_too.iter().map(|line| (' ', *line)));
    steps
}

/// The steps of a longest common subsequence.
fn between<'a>(steps: &mut Vec<Step<'a>>, mut old: &[&'a str], mut new: &[&'a str]) {
    if old.len().saturating_mul(new.len()) <= MOST {
        let common = common(old, new);
        let of = |old: &[&str], new: &[&str]| common.get(old.len()).and_then(|row| row.get(new.len()));
        while let ([one, more_old @ ..], [other, more_new @ ..]) = (old, new) {
            if one == other {
                steps.push((' ', one));
                (old, new) = (more_old, more_new);
            } else if of(more_old, new) >= of(old, more_new) {
                steps.push(('-', one));
                old = more_old;
            } else {
                steps.push(('+', other));
                new = more_new;
            }
        }
    }
    steps.extend(old.iter().map(|line| ('-', *line)));
    steps.extend(new.iter().map(|line| ('+', *line)));
}

/// How many lines the last so many of both have in common, in order.
fn common(old: &[&str], new: &[&str]) -> Vec<Vec<u32>> {
    let mut rows = vec![vec![0; new.len() + 1]];
    for one in old.iter().rev() {
        let Some(shorter) = rows.last() else { break };
        let (mut row, mut so_far) = (vec![0], 0);
        for (other, pair) in new.iter().rev().zip(shorter.windows(2)) {
            let (Some(without), Some(with)) = (pair.first(), pair.last()) else { break };
            so_far = if one == other { without + 1 } else { so_far.max(*with) };
            row.push(so_far);
        }
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(old: &str, new: &str) -> String {
        unified(old, new, ("a", "b"))
    }

    #[test]
    fn a_change_stands_among_the_lines_around_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let wanted = "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n";
        assert_eq!(diff(old, &old.replace('5', "five")), wanted);
        assert_eq!(diff(old, old), "");
    }

    #[test]
    fn changes_far_from_each_other_stand_apart() {
        let old: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let new = old.replace("1\n2\n", "2\n").replace("20\n", "20\nx\n");
        let wanted = "--- a\n+++ b\n@@ -1,4 +1,3 @@\n-1\n 2\n 3\n 4\n@@ -18,3 +17,4 @@\n 18\n 19\n 20\n+x\n";
        assert_eq!(diff(&old, &new), wanted);
    }

    #[test]
    fn a_file_that_comes_or_goes_is_all_change() {
        assert_eq!(diff("", "x\ny\n"), "--- a\n+++ b\n@@ -0,0 +1,2 @@\n+x\n+y\n");
        assert_eq!(diff("x\n", ""), "--- a\n+++ b\n@@ -1 +0,0 @@\n-x\n");
    }

    #[test]
    fn a_last_line_without_an_end_is_told() {
        let wanted = "--- a\n+++ b\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+x\n";
        assert_eq!(diff("x", "x\n"), wanted);
    }

    #[test]
    fn the_steps_lead_from_one_to_the_other_and_are_few() {
        let (old, new) = (["a", "b", "c", "a", "b", "b", "a"], ["c", "b", "a", "b", "a", "c"]);
        let steps = steps(&old, &new);
        let side = |other| steps.iter().filter(|step| step.0 != other).map(|step| step.1).collect::<Vec<_>>();
        assert_eq!((side('+'), side('-')), (old.to_vec(), new.to_vec()));
        assert_eq!(steps.iter().filter(|step| step.0 == ' ').count(), 4, "{steps:?}");
        let (long, other) = (vec!["x"; 3000], vec!["y"; 3000]);
        assert_eq!(super::steps(&long, &other).len(), 6000, "too long to look for the shortest");
    }
}
