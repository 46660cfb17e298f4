//! How deep a policy text nests, before it is parsed: Cedar's parser and validator recurse, and a text that is deep enough
//! would overflow the stack and end the process.

/// The deepest text that is parsed, in the units of [`depth`].
pub(crate) const DEPTH_MAX: usize = 200;

const BRACKET: usize = 8;
const OPERATOR: usize = 2;

/// A bound on how deep the syntax tree of the text becomes: 8 for each open bracket, 2 for each operator or access that is
/// chained with others (`a && b && c`, `a.b.c`). Returns the deepest place, too.
pub(crate) fn depth(text: &str) -> (usize, usize) {
    let mut scan = Scan { levels: vec![Level::default()], outside: 0, deepest: (0, 0) };
    let mut rest = text.char_indices().peekable();
    while let Some((at, character)) = rest.next() {
        match character {
            '"' => {
                while let Some((_, inside)) = rest.next() {
                    match inside {
                        '\\' => _ = rest.next(),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '/' if rest.peek().is_some_and(|(_, next)| *next == '/') => {
                while rest.next_if(|(_, inside)| *inside != '\n').is_some() {}
            }
            '!' if rest.peek().is_some_and(|(_, next)| *next == '=') => {}
            _ if character.is_alphabetic() || character == '_' => {
                let mut end = at + character.len_utf8();
                while let Some((next, inside)) = rest.next_if(|(_, inside)| inside.is_alphanumeric() || *inside == '_')
                {
                    end = next + inside.len_utf8();
                }
                scan.word(text.get(at..end).unwrap_or_default(), at);
            }
            _ => scan.sign(character, at),
        }
    }
    scan.deepest
}

#[derive(Default)]
struct Level {
    operators: usize,
    accesses: usize,
}

struct Scan {
    levels: Vec<Level>,
    /// The sum of all levels but the last.
    outside: usize,
    deepest: (usize, usize),
}

impl Scan {
    fn word(&mut self, word: &str, at: usize) {
        if matches!(word, "if" | "then" | "else" | "when" | "unless") {
            self.operator(OPERATOR, at);
        }
    }

    fn sign(&mut self, sign: char, at: usize) {
        match sign {
            '(' | '[' | '{' => {
                self.outside += self.last().map_or(0, |level| level.operators + level.accesses) + BRACKET;
                self.levels.push(Level::default());
                self.measure(at);
            }
            ')' | ']' | '}' if self.levels.len() > 1 => {
                self.levels.pop();
                let inside = self.last().map_or(0, |level| level.operators + level.accesses);
                self.outside = self.outside.saturating_sub(inside + BRACKET);
                self.access(at);
            }
            '.' => self.access(at),
            // Half each: they come in twos.
            '&' | '|' => self.operator(OPERATOR / 2, at),
            '+' | '-' | '*' | '!' => self.operator(OPERATOR, at),
            ',' | ';' => {
                if let Some(level) = self.levels.last_mut() {
                    *level = Level::default();
                }
            }
            _ => {}
        }
    }

    fn last(&self) -> Option<&Level> {
        self.levels.last()
    }

    fn operator(&mut self, cost: usize, at: usize) {
        if let Some(level) = self.levels.last_mut() {
            level.operators += cost;
            level.accesses = 0;
        }
        self.measure(at);
    }

    fn access(&mut self, at: usize) {
        if let Some(level) = self.levels.last_mut() {
            level.accesses += OPERATOR;
        }
        self.measure(at);
    }

    fn measure(&mut self, at: usize) {
        let depth = self.outside + self.last().map_or(0, |level| level.operators + level.accesses);
        if depth > self.deepest.0 {
            self.deepest = (depth, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(condition: &str) -> String {
        format!("permit (principal, action, resource) when {{ {condition} }};\n")
    }

    #[test]
    fn what_people_write_is_far_from_the_bound() {
        for pack in crate::packs::Pack::ALL {
            assert!(depth(pack.text()).0 < 40, "{}", depth(pack.text()).0);
        }
        let clauses = vec![r#"context.arguments.currency == "eur""#; 60].join(" || ");
        assert!(depth(&rule(&clauses).repeat(100)).0 < DEPTH_MAX);
        let set = rule(&format!("[{}].contains(context.arguments.x)", "1, ".repeat(5_000)));
        assert!(depth(&set).0 < DEPTH_MAX);
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        assert_eq!(depth("\"((((\\\"((((\" // ((((((\n"), (0, 0));
        assert_eq!(depth(")))) a").0, 0);
    }

    /// On the stack of a worker thread, in the unoptimised build, whose frames are the largest.
    #[test]
    fn the_deepest_text_that_is_let_through_does_not_overflow_the_stack() {
        type Make = fn(usize) -> String;
        let shapes: [Make; 13] = [
            |n| format!("{}true{}", "(".repeat(n), ")".repeat(n)),
            |n| format!("{}true{}.isEmpty()", "[".repeat(n), "]".repeat(n)),
            |n| "!(".repeat(n) + "true" + &")".repeat(n),
            |n| "principal has a && ".repeat(n) + "true",
            |n| "principal has a || ".repeat(n) + "true",
            |n| "1 + ".repeat(n) + "1 == 1",
            |n| "1 * ".repeat(n) + "1 == 1",
            |n| "if true then true else ".repeat(n) + "true",
            |n| "context".to_owned() + &".a".repeat(n),
            |n| "context".to_owned() + &"[\"a\"]".repeat(n),
            |n| format!("{}\"1\"{}", "ip(".repeat(n), ")".repeat(n)),
            |n| format!("{}1{} == 1", "{a:".repeat(n), "}".repeat(n)),
            |n| "true } when { ".repeat(n) + "true",
        ];
        let deepest = shapes.map(|make| {
            let fits = |n: &usize| depth(&rule(&make(*n))).0 <= DEPTH_MAX;
            rule(&make((1..1_000).take_while(fits).last().unwrap_or_default()))
        });
        let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
            let language = crate::check::Language::new(&crate::Vocabulary {
                tenant: domain::TenantId::from_uuid(uuid::Uuid::nil()),
                servers: Vec::new(),
                groups: None,
            })
            .unwrap();
            deepest.iter().map(|text| language.check(text).findings.len()).sum::<usize>()
        });
        assert!(worker.unwrap().join().unwrap() > 0);
    }
}
