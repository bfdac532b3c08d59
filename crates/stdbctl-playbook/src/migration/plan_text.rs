//! A server's own plan, made fit to be shown among other lines.

/// The lines of the `migrate_plan` in the answer to `pre_publish`, without colours, rules, title and empty lines.
/// What belongs to the line above it stays indented, by two spaces a level.
pub fn plan_lines(migrate_plan: &str) -> Vec<String> {
    without_colours(migrate_plan).lines().filter_map(plan_line).collect()
}

fn plan_line(line: &str) -> Option<String> {
    let text = line.trim();
    let is_rule = text.chars().all(|c| matches!(c, '━' | '─' | '═' | '-' | '='));
    if is_rule || text == "Database Migration Plan" {
        return None;
    }
    let indent = line.chars().take_while(|c| *c == ' ').count() / 4;
    // Views come with their arrow twice.
    let text = text.trim_start_matches(['▸', '•', ' ']).trim_start_matches("!!! ");
    Some(format!("{}{text}", "  ".repeat(indent)))
}

/// Takes out terminal sequences and every other control character except the ends of lines.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                // `ESC [` and all up to the letter that ends the sequence.
                let _end = rest.find(char::is_ascii_alphabetic);
            }
            '\n' => plain.push(c),
            '\t' => plain.push(' '),
            _ if c.is_control() => {}
            _ => plain.push(c),
        }
    }
    plain
}
