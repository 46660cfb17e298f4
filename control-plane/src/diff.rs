//! What differs between two texts, line by line, the changed words marked. Pure.

/// Unchanged lines kept around a change.
const CONTEXT: usize = 3;
/// Most cells of the table of common lines; beyond, all lines count as replaced.
const CELLS_MAX: usize = 4_000_000;

/// How a line came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Same,
    Gone,
    New,
    /// Unchanged lines that are not shown.
    Gap,
}

/// A line of a diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    /// Its number before, from 1.
    pub(crate) before: Option<usize>,
    /// Its number after, from 1.
    pub(crate) after: Option<usize>,
    /// What stands before, in, and after the words that changed; all in the first where none are marked.
    pub(crate) parts: [String; 3],
}

impl Line {
    pub(crate) const fn class(&self) -> &'static str {
        match self.kind {
            Kind::Same => "",
            Kind::Gone => "del",
            Kind::New => "add",
            Kind::Gap => "gap",
        }
    }

    pub(crate) const fn sign(&self) -> &'static str {
        match self.kind {
            Kind::Same | Kind::Gap => "",
            Kind::Gone => "−",
            Kind::New => "+",
        }
    }

    pub(crate) fn before_number(&self) -> String {
        self.before.map(|number| number.to_string()).unwrap_or_default()
    }

    pub(crate) fn after_number(&self) -> String {
        self.after.map(|number| number.to_string()).unwrap_or_default()
    }
}

/// Compares two texts; what is far from any change is left out, and nothing is left where nothing differs.
pub(crate) fn lines(before: &str, after: &str) -> Vec<Line> {
    if before == after {
        return Vec::new();
    }
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let mut found = compared(&before, &after);
    mark(&mut found);
    shortened(found)
}

fn line(kind: Kind, before: Option<usize>, after: Option<usize>, text: &str) -> Line {
    Line { kind, before, after, parts: [text.to_owned(), String::new(), String::new()] }
}

fn compared(before: &[&str], after: &[&str]) -> Vec<Line> {
    let head = before.iter().zip(after).take_while(|(old, new)| old == new).count();
    let tail = before[head..].iter().rev().zip(after[head..].iter().rev()).take_while(|(old, new)| old == new).count();
    let mut found: Vec<Line> =
        (0..head).map(|place| line(Kind::Same, Some(place + 1), Some(place + 1), before[place])).collect();
    let (old, new) = (&before[head..before.len() - tail], &after[head..after.len() - tail]);
    let table = common(old, new);
    let (mut left, mut right) = (0, 0);
    while left < old.len() || right < new.len() {
        let is_same = left < old.len() && right < new.len() && table.is_some() && old[left] == new[right];
        let (number, other) = (head + left + 1, head + right + 1);
        if is_same {
            found.push(line(Kind::Same, Some(number), Some(other), old[left]));
            (left, right) = (left + 1, right + 1);
        } else if left < old.len() && (right == new.len() || keeps(table.as_ref(), left, right, new.len())) {
            found.push(line(Kind::Gone, Some(number), None, old[left]));
            left += 1;
        } else {
            found.push(line(Kind::New, None, Some(other), new[right]));
            right += 1;
        }
    }
    let (old, new) = (before.len() - tail, after.len() - tail);
    found.extend(
        (0..tail).map(|place| line(Kind::Same, Some(old + place + 1), Some(new + place + 1), before[old + place])),
    );
    found
}

/// Whether leaving out the old line keeps as much in common as leaving out the new one.
fn keeps(table: Option<&Vec<u32>>, left: usize, right: usize, width: usize) -> bool {
    let width = width + 1;
    table.is_none_or(|table| table[(left + 1) * width + right] >= table[left * width + right + 1])
}

/// How many lines the rests have in common, for each pair of places.
fn common(old: &[&str], new: &[&str]) -> Option<Vec<u32>> {
    let width = new.len() + 1;
    if width.saturating_mul(old.len() + 1) > CELLS_MAX {
        return None;
    }
    let mut table = vec![0_u32; width * (old.len() + 1)];
    for left in (0..old.len()).rev() {
        for right in (0..new.len()).rev() {
            table[left * width + right] = if old[left] == new[right] {
                table[(left + 1) * width + right + 1] + 1
            } else {
                table[(left + 1) * width + right].max(table[left * width + right + 1])
            };
        }
    }
    Some(table)
}

/// Marks what changed in a line that took the place of one other.
fn mark(lines: &mut [Line]) {
    for place in 1..lines.len() {
        let follows = lines[place].kind == Kind::New && lines[place - 1].kind == Kind::Gone;
        let only = place < 2 || lines[place - 2].kind != Kind::Gone;
        if !follows || !only {
            continue;
        }
        let (old, new) = (lines[place - 1].parts[0].clone(), lines[place].parts[0].clone());
        let head = shared(old.chars(), new.chars());
        let rest = old.chars().count().min(new.chars().count()) - head;
        let tail = shared(old.chars().rev(), new.chars().rev()).min(rest);
        lines[place - 1].parts = split(&old, head, tail);
        lines[place].parts = split(&new, head, tail);
    }
}

fn shared(old: impl Iterator<Item = char>, new: impl Iterator<Item = char>) -> usize {
    old.zip(new).take_while(|(old, new)| old == new).count()
}

fn split(text: &str, head: usize, tail: usize) -> [String; 3] {
    let middle = text.chars().count() - head - tail;
    let mut chars = text.chars();
    let mut take = |count: usize| chars.by_ref().take(count).collect::<String>();
    [take(head), take(middle), take(tail)]
}

/// Leaves out what is unchanged and far from any change.
fn shortened(lines: Vec<Line>) -> Vec<Line> {
    let changed: Vec<usize> =
        lines.iter().enumerate().filter(|(_, line)| line.kind != Kind::Same).map(|(place, _)| place).collect();
    let mut kept: Vec<Line> = Vec::new();
    for (place, found) in lines.into_iter().enumerate() {
        let next = changed.partition_point(|change| *change < place);
        let near = |change: Option<&usize>| change.is_some_and(|change| change.abs_diff(place) <= CONTEXT);
        if near(changed.get(next)) || (next > 0 && near(changed.get(next - 1))) {
            kept.push(found);
        } else if kept.last().is_none_or(|last| last.kind != Kind::Gap) {
            kept.push(line(Kind::Gap, None, None, "…"));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(before: &str, after: &str) -> String {
        let shown = lines(before, after).into_iter().map(|line| {
            let [head, middle, tail] = &line.parts;
            let marked = if middle.is_empty() { line.parts.concat() } else { format!("{head}[{middle}]{tail}") };
            format!("{:>2} {:>2} {:1} {marked}", line.before_number(), line.after_number(), line.sign())
        });
        shown.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_changed_stands_with_its_line_numbers_and_a_little_around_it() {
        insta::assert_snapshot!(shown("1\n2\n3\n4\n5\na\nb\nc\n9", "1\n2\n3\n4\n5\nA\nb\nB\nc\n9"), @r"
                …
         3  3   3
         4  4   4
         5  5   5
         6    − [a]
            6 + [A]
         7  7   b
            8 + B
         8  9   c
         9 10   9
        ");
    }

    #[test]
    fn nothing_differs_where_nothing_differs() {
        assert_eq!(shown("a\nb", "a\nb"), "");
        assert_eq!(shown("", ""), "");
        assert_eq!(shown("", "a"), "    1 + a");
        assert_eq!(shown("a\na", "a"), " 1  1   a\n 2    − a");
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_from_it(before in proptest::collection::vec("[ab]{0,2}", 0..12), after in proptest::collection::vec("[ab]{0,2}", 0..12)) {
            let (old, new): (Vec<&str>, Vec<&str>) =
                (before.iter().map(String::as_str).collect(), after.iter().map(String::as_str).collect());
            let mut found = compared(&old, &new);
            mark(&mut found);
            let side = |leaves_out: Kind| {
                found.iter().filter(|line| line.kind != leaves_out).map(|line| line.parts.concat()).collect::<Vec<_>>()
            };
            prop_assert_eq!(side(Kind::New), old);
            prop_assert_eq!(side(Kind::Gone), new);
        }
    }
}
