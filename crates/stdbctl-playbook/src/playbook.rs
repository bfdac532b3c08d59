//! Reads a playbook and, with the settings of one host, makes the engine's tasks of it.

use std::collections::BTreeMap;

use serde_json::Value;
use stdbctl_engine::resource::Resource;
use stdbctl_engine::task::{Task, TaskSpec};

use crate::settings::Settings;
use crate::template;
use crate::values::Values;
use crate::yaml::{self, SourceError, Spanned, nearest};

pub use crate::template::TemplateError;

/// A playbook: YAML with the names of settings in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playbook {
    file: String,
    text: String,
}

/// A playbook makes no tasks.
#[derive(Debug, thiserror::Error)]
pub enum PlaybookError {
    /// It is wrong at a place.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A template it names cannot be rendered.
    #[error("{place}")]
    Template {
        /// The task that names the template.
        place: SourceError,
        /// Where the template is wrong.
        #[source]
        source: Box<TemplateError>,
    },
}

impl Playbook {
    /// What `stdbctl deploy` does.
    pub fn deploy() -> Self {
        Self::new("playbooks/deploy.yaml", include_str!("../playbooks/deploy.yaml"))
    }

    /// A playbook of this text; errors call it `file`.
    pub fn new(file: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: file.into(), text: text.into() }
    }

    /// The tasks of a host with these settings, in the order they are written. Those whose `when` does not hold
    /// are there too, and say so.
    ///
    /// # Errors
    /// With the place and, for a name that is not known, the one most like it. Cycles are the engine's to find.
    pub fn tasks(&self, settings: &Settings) -> Result<Vec<Task>, PlaybookError> {
        let values = Values::of(settings);
        let filled = self.fill(&values)?;
        let specs: Vec<Spanned<TaskSpec>> =
            yaml::read(&self.file, &filled).map_err(|error| self.shown_as_written(error))?;
        self.check_ids(&specs)?;
        specs.into_iter().map(|spec| self.task(spec, &values)).collect()
    }

    /// Puts the settings in. Lines stay lines: an error in the filled text is at the same line of the file.
    fn fill(&self, values: &Values) -> Result<String, SourceError> {
        let mut filled = String::with_capacity(self.text.len());
        for (index, line) in self.text.lines().enumerate() {
            if line.trim_start().starts_with('#') {
                filled += line;
            } else {
                self.fill_line(index + 1, line, values, &mut filled)?;
            }
            filled.push('\n');
        }
        Ok(filled)
    }

    fn fill_line(
        &self,
        number: usize,
        line: &str,
        values: &Values,
        filled: &mut String,
    ) -> Result<(), SourceError> {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("{{") {
            let column = line.len() - after.len() - 1;
            let wrong = |message: String| self.error(number, column, message);
            let (name, after) =
                after.split_once("}}").ok_or_else(|| wrong("`{{` without `}}` on this line".to_owned()))?;
            let name = name.trim();
            let value = values
                .get(name)
                .ok_or_else(|| wrong(unknown("setting", name, nearest(name, values.names()))))?;
            filled.push_str(before);
            let text = if stands_alone(filled, after) { Some(as_yaml(value)) } else { within_text(value) };
            filled.push_str(&text.ok_or_else(|| {
                wrong(format!("the value of `{name}` cannot stand within text: give it a line of its own"))
            })?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(())
    }

    fn check_ids(&self, specs: &[Spanned<TaskSpec>]) -> Result<(), SourceError> {
        let mut lines = BTreeMap::new();
        for spec in specs {
            if let Some(first) = lines.insert(spec.value.id.as_str(), spec.line) {
                let message = format!("task `{}` is there already, on line {first}", spec.value.id);
                return Err(self.error_at(spec, message));
            }
        }
        for spec in specs {
            let with = spec.value.service.iter().flat_map(|service| &service.with);
            if let Some(id) = spec.value.needs.iter().chain(with).find(|id| !lines.contains_key(id.as_str()))
            {
                let meant = nearest(id, lines.keys().copied());
                let message = format!(
                    "task `{}` needs one that is not there: {}",
                    spec.value.id,
                    unknown("task", id, meant)
                );
                return Err(self.error_at(spec, message));
            }
        }
        Ok(())
    }

    fn task(&self, spec: Spanned<TaskSpec>, values: &Values) -> Result<Task, PlaybookError> {
        let (line, column) = (spec.line, spec.column);
        let wrong = |message: String| self.error(line, column, message);
        let skipped = skipped(&spec.value, values).map_err(wrong)?;
        let mut task = spec.value.into_task(skipped).map_err(|error| wrong(error.to_string()))?;
        check_shape(&task).map_err(wrong)?;
        if let Resource::File(file) = &mut task.resource
            && let Some(name) = file.template.take_if(|_| task.skipped.is_none())
        {
            let rendered = template::render(&name, values)
                .ok_or_else(|| wrong(unknown("template", &name, nearest(&name, template::names()))))?;
            file.content = Some(rendered.map_err(|source| PlaybookError::Template {
                place: wrong(format!("task `{}` has a template that cannot be rendered", task.id)),
                source: Box::new(source),
            })?);
        }
        Ok(task)
    }

    fn error(&self, line: usize, column: usize, message: impl Into<String>) -> SourceError {
        SourceError::new(&self.file, &self.text, line, column, message)
    }

    fn error_at(&self, spec: &Spanned<TaskSpec>, message: String) -> SourceError {
        self.error(spec.line, spec.column, message)
    }

    /// An error in the filled text, with the snippet taken from the file as it was written.
    fn shown_as_written(&self, error: SourceError) -> SourceError {
        self.error(error.line, error.column, error.message)
    }
}

/// Whether a value put between these two is a YAML value of its own.
fn stands_alone(before: &str, after: &str) -> bool {
    let before = before.trim_end().chars().next_back();
    let after = after.trim_start().chars().next();
    matches!(before, Some(':' | ',' | '[' | '-') | None)
        && matches!(after, Some(',' | '}' | ']' | '#') | None)
}

/// JSON is YAML; nothing is what YAML writes for null.
fn as_yaml(value: &Value) -> String {
    if value.is_null() { String::new() } else { value.to_string() }
}

/// Only what means nothing to YAML, inside quotes or outside.
fn within_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/:@+=~-".contains(c);
    text.chars().all(plain).then_some(text)
}

fn unknown(what: &str, name: &str, meant: Option<&str>) -> String {
    let meant = meant.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    format!("there is no {what} `{name}`{meant}")
}

/// Why the task is left out, if it is.
fn skipped(spec: &TaskSpec, values: &Values) -> Result<Option<String>, String> {
    let Some(when) = spec.when.as_deref() else { return Ok(None) };
    let (name, wanted) = match when.strip_prefix("not ") {
        Some(name) => (name.trim(), false),
        None => (when, true),
    };
    let holds = values.holds(name).ok_or_else(|| {
        format!("`when` of task `{}`: {}", spec.id, unknown("setting", name, nearest(name, values.names())))
    })?;
    Ok((holds != wanted)
        .then(|| if wanted { format!("{name} is not set") } else { format!("{name} is set") }))
}

/// What the vocabulary's types leave open.
fn check_shape(task: &Task) -> Result<(), String> {
    if task.id.is_empty() || !task.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(format!("`{}` is not an id: letters, digits and `-`", task.id));
    }
    let given = |options: [&Option<String>; 3]| options.iter().filter(|option| option.is_some()).count();
    let (count, choice) = match &task.resource {
        Resource::Command(command) => {
            (given([&command.unless, &command.creates, &None]), "`unless` and `creates`")
        }
        Resource::File(file) if task.skipped.is_none() => {
            (given([&file.content, &file.template, &file.source]), "`content`, `template` and `source`")
        }
        Resource::Archive(archive) if task.skipped.is_none() => {
            (given([&archive.url, &archive.file, &None]), "`url` and `file`")
        }
        _ => return Ok(()),
    };
    if count == 1 { Ok(()) } else { Err(format!("task `{}` needs exactly one of {choice}", task.id)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Layer, merge};

    fn settings(assignments: &[&str]) -> Settings {
        let layers: Vec<Layer> =
            assignments.iter().map(|text| Layer::from_assignment(text).unwrap()).collect();
        merge(&layers).unwrap()
    }

    fn deploy(assignments: &[&str]) -> Vec<Task> {
        Playbook::deploy().tasks(&settings(assignments)).unwrap()
    }

    const PLAIN: &[&str] = &[];
    const ACME: &[&str] = &["domain=example.com", "tls.email=ops@example.com"];
    const PRIVATE_ACME: &[&str] = &[
        "domain=db.test.example",
        "tls.acme_directory=https://ca.test.example:14000/dir",
        "tls.acme_ca=/some where/ca.pem",
        "spacetimedb.source=mirror",
        "spacetimedb.mirror=http://10.0.0.1:8000/",
        "spacetimedb.listen=0.0.0.0:4000",
        "spacetimedb.root_dir=/data/stdb",
        "spacetimedb.version=1.3.0",
    ];
    const FILES: &[&str] = &[
        "domain=example.com",
        "tls.mode=files",
        "tls.certificate=certs/fullchain.pem",
        "tls.key=certs/key.pem",
        "spacetimedb.source=archive",
        "spacetimedb.archive=spacetime.tar.gz",
        "firewall.enable=false",
    ];

    /// One line a task, and what is in it where that depends on settings.
    fn told(tasks: &[Task]) -> String {
        let mut lines = Vec::new();
        for task in tasks {
            match &task.skipped {
                Some(why) => lines.push(format!("- {}: left out, {why}", task.id)),
                None => lines.push(format!("- {}: {} {:?}", task.id, task.title, task.needs)),
            }
            let shown = task.skipped.is_none() && !matches!(task.resource, Resource::File(_));
            if shown {
                lines.push(format!("    {:?}", task.resource));
            }
            if let (None, Resource::File(file)) = (&task.skipped, &task.resource) {
                let from = file.source.as_ref().map(|path| format!(" from {path}")).unwrap_or_default();
                lines.push(format!("    {} {}{from}, checked by {:?}", file.mode, file.path, file.validate));
            }
        }
        lines.join("\n")
    }

    fn content(tasks: &[Task], id: &str) -> String {
        let task = tasks.iter().find(|task| task.id == id).unwrap();
        let Resource::File(file) = &task.resource else { panic!("{id} is not a file") };
        format!("==> {}\n{}", file.path, file.content.as_deref().unwrap())
    }

    #[test]
    fn tasks_of_a_server_without_a_domain() {
        insta::assert_snapshot!(told(&deploy(PLAIN)));
    }

    #[test]
    fn tasks_of_a_server_with_a_certificate_from_a_ca() {
        insta::assert_snapshot!(told(&deploy(ACME)));
    }

    #[test]
    fn tasks_of_a_server_with_a_private_ca_and_a_mirror() {
        insta::assert_snapshot!(told(&deploy(PRIVATE_ACME)));
    }

    #[test]
    fn tasks_of_a_server_with_its_own_certificate() {
        insta::assert_snapshot!(told(&deploy(FILES)));
    }

    #[test]
    fn files_of_a_server_with_a_certificate_from_a_ca() {
        let tasks = deploy(ACME);
        let ids = ["unit", "upstream", "proxy", "routes", "site", "tls-site", "renewal-reload"];
        insta::assert_snapshot!(ids.map(|id| content(&tasks, id)).join("\n"));
    }

    #[test]
    fn files_of_a_server_without_a_domain() {
        insta::assert_snapshot!(content(&deploy(PLAIN), "site"));
    }

    #[test]
    fn files_of_a_server_with_a_name_and_no_tls() {
        insta::assert_snapshot!(content(&deploy(&["domain=example.com", "tls.mode=off"]), "site"));
    }

    #[test]
    fn files_of_a_server_with_all_its_own() {
        let tasks = deploy(PRIVATE_ACME);
        insta::assert_snapshot!(
            ["unit", "upstream", "tls-site", "renewal-ca"].map(|id| content(&tasks, id)).join("\n")
        );
    }

    #[test]
    fn routes_of_a_server_that_is_open() {
        let open = ["public.call=true", "public.sql=true", "public.publish=true", "public.identity=false"];
        insta::assert_snapshot!(content(&deploy(&open), "routes"));
    }

    #[test]
    fn every_deviation_and_title_is_one_line() {
        let text = include_str!("../playbooks/deploy.yaml");
        assert!(text.lines().all(|line| line.len() <= 120), "a line is too long");
        assert!(!text.contains("why: |") && !text.contains("why: >"));
    }

    fn refused(text: &str) -> String {
        let error = Playbook::new("own.yaml", text).tasks(&settings(PLAIN)).unwrap_err();
        let PlaybookError::Source(error) = error else { panic!("{error}") };
        format!("{error}\n{}", error.snippet)
    }

    #[test]
    fn bad_playbooks_are_refused_at_their_line() {
        let group = "  group: { name: a }\n";
        let texts = [
            format!("- id: a\n  title: A\n  need: [b]\n{group}"),
            format!("- id: a\n  id: b\n  title: A\n{group}"),
            format!("- id: a\n  title: [A]\n{group}"),
            format!("- id: a\n\ttitle: A\n{group}"),
            format!("- id: a\n  title: A\n{group}- id: a\n  title: B\n{group}"),
            format!("- id: users\n  title: A\n{group}- id: b\n  title: B\n  needs: [user]\n{group}"),
            "- id: a\n  title: A\n".to_owned(),
            format!("- id: a\n  title: A\n{group}  command: {{ run: x, creates: /x }}\n"),
            "- id: a\n  title: A\n  command: { run: reboot }\n".to_owned(),
            "- id: a\n  title: A\n  file: { path: /a, template: nginx-sites.conf }\n".to_owned(),
            "- id: a\n  title: A\n  file: { path: /a }\n".to_owned(),
            format!("- id: a\n  title: A\n  when: http\n{group}"),
            format!("- id: a\n  title: A\n  when: not tls.mod\n{group}"),
            "- id: a\n  title: A\n  group: { name: \"{{ spacetimedb.verson }}\" }\n".to_owned(),
            "- id: a\n  title: A\n  group: { name: \"{{ domain\" }\n".to_owned(),
            "- id: a\n  title: A\n  archive: { path: /a, url: b, file: c, members: [d] }\n".to_owned(),
            "- id: a\n  title: A\n  service: { name: a, with: [b] }\n".to_owned(),
            format!("- id: a b\n  title: A\n{group}"),
            "- id: a\n  title: A\n  service: { name: a, running: yes }\n".to_owned(),
        ];
        insta::assert_snapshot!(texts.map(|text| refused(&text)).join("\n\n"));
    }

    #[test]
    fn a_value_that_yaml_could_misread_stands_alone_or_not_at_all() {
        let with_archive = settings(&["spacetimedb.source=archive", "spacetimedb.archive=\"a: 'b' #c.tgz\""]);
        let alone = "- id: a\n  title: A\n  file: { path: /a, source: {{ spacetimedb.archive }} }\n";
        let tasks = Playbook::new("own.yaml", alone).tasks(&with_archive).unwrap();
        let Resource::File(file) = &tasks[0].resource else { panic!("not a file") };
        assert_eq!(file.source.as_deref(), Some("a: 'b' #c.tgz"));

        let within = "- id: a\n  title: A\n  file: { path: /a, source: x{{ spacetimedb.archive }} }\n";
        let error = Playbook::new("own.yaml", within).tasks(&with_archive).unwrap_err();
        assert!(error.to_string().contains("cannot stand within text"), "{error}");
    }

    #[test]
    fn the_graph_of_every_variant_has_no_cycle() {
        for variant in [PLAIN, ACME, PRIVATE_ACME, FILES] {
            stdbctl_engine::graph::Graph::new(&deploy(variant)).unwrap();
        }
    }
}
