//! `stdbctl db call`: a reducer, as the database's owner.

use serde::Serialize;
use serde_json::value::RawValue;

use super::target::Target;
use crate::cli::DbCallArgs;
use crate::console::Console;
use crate::error::{CliError, Context};
use crate::exit_code::ExitCode;
use crate::report::clean;
use crate::report::style::{GOOD, LOUD};

#[derive(Debug, Serialize)]
struct Document<'a> {
    database: &'a str,
    reducer: &'a str,
    /// What a procedure has returned; nothing for a reducer.
    returned: Option<Returned>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Returned {
    Json(Box<RawValue>),
    Text(String),
}

pub(super) async fn run(args: DbCallArgs, console: &Console) -> Result<ExitCode, CliError> {
    let arguments = array(&args.arguments)?;
    let target = Target::connect(&args.one, console).await?;
    let returned = target.database().call(&args.reducer, &arguments).await;
    let returned = returned.map_err(|error| target.failed(error))?;
    let document = Document { database: &target.name, reducer: &args.reducer, returned: read(&returned) };
    target.show(console, &document, |out| match returned.trim() {
        _ if console.quiet && returned.trim().is_empty() => Ok(()),
        "" => writeln!(
            out,
            "{LOUD}{}{LOUD:#}: {GOOD}{} succeeded{GOOD:#}",
            target.name,
            clean::line(&args.reducer)
        ),
        returned => writeln!(out, "{}", clean::text(returned)),
    })
}

/// The arguments as a JSON array; what is no JSON is a text.
fn array(arguments: &[String]) -> Result<String, CliError> {
    let value = |argument: &String| {
        let raw = serde_json::from_str::<&RawValue>(argument).map(|raw| raw.get().to_owned());
        raw.or_else(|_| serde_json::to_string(argument))
    };
    let values: Result<Vec<_>, _> = arguments.iter().map(value).collect();
    let values =
        values.map_err(|error| CliError::usage(Context::new("an argument cannot be sent", error)))?;
    Ok(format!("[{}]", values.join(",")))
}

fn read(returned: &str) -> Option<Returned> {
    let text = returned.trim();
    (!text.is_empty()).then(|| {
        RawValue::from_string(text.to_owned())
            .map_or_else(|_| Returned::Text(text.to_owned()), Returned::Json)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_a_text() {
        let array = |arguments: &[&str]| {
            array(&arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>()).unwrap()
        };
        assert_eq!(array(&[]), "[]");
        assert_eq!(
            array(&[
                "bob",
                "18446744073709551615",
                "-1.50",
                "true",
                "\"3\"",
                "{\"x\": [1]}",
                "it's",
                "",
                "two words"
            ]),
            r#"["bob",18446744073709551615,-1.50,true,"3",{"x": [1]},"it's","","two words"]"#
        );
        assert_eq!(array(&["a\"b\\", "[1", "1]"]), r#"["a\"b\\","[1","1]"]"#);
    }

    #[test]
    fn what_a_procedure_returns_is_handed_on() {
        let json = |text: &str| serde_json::to_string(&read(text)).unwrap();
        assert_eq!(json(""), "null");
        assert_eq!(json("{\"a\": 18446744073709551616}\n"), "{\"a\": 18446744073709551616}");
        assert_eq!(json("words"), "\"words\"");
    }
}
