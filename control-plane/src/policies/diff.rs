//! The difference of two texts, line by line.

/// A line of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// `add`, `del`, `gap` for lines that are left out, empty for a line of both.
    pub(super) class: &'static str,
    /// Its number in the old text, and in the new; empty where it is not in it.
    pub(super) old: String,
    pub(super) new: String,
    pub(super) text: String,
}

/// How many lines stand around what changed.
const AROUND: usize = 3;
/// So many pairs of lines are compared at most; a larger rest counts as written anew.
const PAIRS_MAX: usize = 4_000_000;

/// The difference, with little of what both have; empty where nothing differs.
pub(super) fn rows(old: &str, new: &str) -> Vec<Row> {
    folded(all(&old.lines().collect::<Vec<_>>(), &new.lines().collect::<Vec<_>>()))
}

fn all(old: &[&str], new: &[&str]) -> Vec<Row> {
    let before = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let behind = old[before..].iter().rev().zip(new[before..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_middle, new_middle) = (&old[before..old.len() - behind], &new[before..new.len() - behind]);
    let kept = common(old_middle, new_middle);
    let mut places = Places::default();
    let mut rows: Vec<Row> = old[..before].iter().map(|line| places.both(line)).collect();
    for (in_old, in_new) in kept.into_iter().chain([(old_middle.len(), new_middle.len())]) {
        rows.extend(old_middle[places.old - before..in_old].iter().map(|line| Places::gone(line)));
        number(&mut rows, &mut places);
        let added = &new_middle[places.new - before..in_new];
        rows.extend(added.iter().map(|line| places.added(line)));
        rows.extend(old_middle.get(in_old).map(|line| places.both(line)));
    }
    rows.extend(old[old.len() - behind..].iter().map(|line| places.both(line)));
    rows
}

/// Numbers the lines that went just before.
fn number(rows: &mut [Row], places: &mut Places) {
    for row in rows.iter_mut().filter(|row| row.class == "del" && row.old.is_empty()) {
        places.old += 1;
        row.old = places.old.to_string();
    }
}

/// How many lines of each text stand already.
#[derive(Default)]
struct Places {
    old: usize,
    new: usize,
}

impl Places {
    fn both(&mut self, text: &str) -> Row {
        self.old += 1;
        self.new += 1;
        Row { class: "", old: self.old.to_string(), new: self.new.to_string(), text: text.to_owned() }
    }

    fn added(&mut self, text: &str) -> Row {
        self.new += 1;
        Row { class: "add", old: String::new(), new: self.new.to_string(), text: text.to_owned() }
    }

    fn gone(text: &str) -> Row {
        Row { class: "del", old: String::new(), new: String::new(), text: text.to_owned() }
    }
}

/// The places of a longest row of lines that both have.
fn common(old: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        return Vec::new();
    }
    // lengths[i][j]: how many lines the rests from i and j have in common.
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            lengths[i * width + j] = if old[i] == new[j] {
                lengths[(i + 1) * width + j + 1] + 1
            } else {
                lengths[(i + 1) * width + j].max(lengths[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            found.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    found
}

/// Leaves out what is far from any change.
fn folded(rows: Vec<Row>) -> Vec<Row> {
    let changed: Vec<usize> =
        rows.iter().enumerate().filter(|(_, row)| !row.class.is_empty()).map(|(place, _)| place).collect();
    if changed.is_empty() {
        return Vec::new();
    }
    let mut near = vec![false; rows.len()];
    for place in changed {
        let end = (place + AROUND + 1).min(rows.len());
        near[place.saturating_sub(AROUND)..end].fill(true);
    }
    let mut shown: Vec<Row> = Vec::new();
    for (row, is_near) in rows.into_iter().zip(near) {
        if is_near {
            shown.push(row);
        } else if shown.last().is_none_or(|last| last.class != "gap") {
            shown.push(Row { class: "gap", old: String::new(), new: String::new(), text: "…".to_owned() });
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str) -> String {
        let row = |row: Row| format!("{:>4} {:>2} {:>2} {}", row.class, row.old, row.new, row.text);
        rows(old, new).into_iter().map(row).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_changed_stands_with_its_line_numbers_and_a_little_around_it() {
        insta::assert_snapshot!(shown("1\n2\n3\n4\n5\na\nb\nc\n9", "1\n2\n3\n4\n5\nA\nb\nB\nc\n9"), @r"
         gap       …
              3  3 3
              4  4 4
              5  5 5
         del  6    a
         add     6 A
              7  7 b
         add     8 B
              8  9 c
              9 10 9
        ");
    }

    #[test]
    fn nothing_differs_where_nothing_differs() {
        assert_eq!(shown("a\nb", "a\nb"), "");
        assert_eq!(shown("", ""), "");
        insta::assert_snapshot!(shown("", "a"), @" add     1 a");
        insta::assert_snapshot!(shown("a\na", "a"), @r"
              1  1 a
         del  2    a
        ");
    }
}
