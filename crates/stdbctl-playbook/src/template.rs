//! The templates, named as on the server, and their rendering.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};

use crate::values::Values;

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../playbooks/templates/", $name)))),*]
    };
}

const TEMPLATES: &[(&str, &str)] = embedded![
    "certbot-ca.conf",
    "certbot-reload-nginx",
    "nginx-check.conf",
    "nginx-proxy.conf",
    "nginx-routes.conf",
    "nginx-site.conf",
    "nginx-tls.conf",
    "nginx-upstream.conf",
    "spacetimedb.service",
];

/// A template cannot be rendered.
#[derive(Debug, thiserror::Error)]
#[error("template `{name}`, line {line}")]
pub struct TemplateError {
    /// Its name.
    pub name: String,
    /// The line, counted from 1; 0 if unknown.
    pub line: usize,
    /// What is wrong there.
    #[source]
    pub source: minijinja::Error,
}

/// The names of all templates.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TEMPLATES.iter().map(|(name, _)| *name)
}

/// Renders a template; None if there is none of that name. A name it uses that no setting has is an error.
pub(crate) fn render(name: &str, values: &Values) -> Option<Result<String, TemplateError>> {
    let (_, text) = TEMPLATES.iter().find(|(known, _)| *known == name)?;
    let rendered =
        environment().and_then(|environment| environment.render_named_str(name, text, values.tree()));
    Some(rendered.map_err(|source| TemplateError {
        name: name.to_owned(),
        line: source.line().unwrap_or_default(),
        source,
    }))
}

fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?,
    );
    Ok(environment)
}
