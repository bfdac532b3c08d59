//! The recorded answers, made to speak of the caller and the database at hand.

use crate::replay::http::{Reply, Request};
use crate::replay::identity::Identity;
use crate::replay::module::{Module, Step, hex};
use crate::replay::recording::Recording;
use crate::replay::world::Database;

/// Who the recorded answers speak of.
pub(super) const OWNER: &str = "c200365ca6af16b36934ffddb31fbdbbe8071d4f21f663fa34c7c7683e2737c5";
/// Which database they speak of, and the one that an anonymous caller made.
pub(super) const GAME: &str = "c2000d317b153c48dbeab564b76af0708691cabe83a93f47dfbd58c9f5f8b30e";
pub(super) const EVIL: &str = "c200dd04d1027ada62b62c5e5f1a55a88cd632cab70a4b0f34b23060dfaf4fde";
const WASM: &[u8] = b"\0asm";

/// Who asks, by a token that fits. Whoever shows none is given one.
pub(super) struct Caller {
    pub(super) identity: Identity,
    pub(super) token: String,
}

/// A database as a request names it.
pub(super) struct Named {
    pub(super) text: String,
    pub(super) identity: Identity,
}

/// The recorded answer, as it was.
pub(super) fn recorded(start: &str) -> Reply {
    Recording::find(start).reply()
}

/// 17 for another action.
pub(super) fn forbidden(action: &str) -> Reply {
    let mut reply = recorded("17");
    reply.body = reply.body.replace("update database", action);
    reply
}

/// Puts the caller where the recorded one was: in the headers, and in what is said to it.
pub(super) fn addressed_to(caller: &Caller, mut reply: Reply) -> Reply {
    let mut before = None;
    for (name, value) in &mut reply.headers {
        match name.as_str() {
            "spacetime-identity" => before = Some(std::mem::replace(value, caller.identity.to_string())),
            "spacetime-identity-token" => value.clone_from(&caller.token),
            _ => {}
        }
    }
    if let Some(before) = before.filter(|before| before != OWNER) {
        reply.body = reply.body.replace(&before, &caller.identity.to_string());
    }
    reply
}

/// The answer about `evil`, as it would be about `game`.
pub(super) fn of_game(mut reply: Reply) -> Reply {
    reply.body = reply.body.replace(EVIL, GAME).replace("\"evil\"", "\"game\"");
    reply
}

/// Puts a database where the recorded one was, and its owner where the recorded one was.
pub(super) fn about(named: &Named, database: Option<&Database>, mut reply: Reply) -> Reply {
    let domain = match Identity::parse(&named.text) {
        Some(_) => "\"domain\":null".to_owned(),
        None => format!("\"domain\":\"{}\"", named.text),
    };
    reply.body =
        reply.body.replace("\"domain\":\"game\"", &domain).replace(GAME, &named.identity.to_string());
    if let Some(database) = database {
        reply.body = reply.body.replace(OWNER, &database.owner.to_string());
    }
    reply
}

pub(super) fn facts(database: &Database) -> Reply {
    let mut reply = recorded("30");
    reply.body = reply.body.replace(&Module::V1.program_hash(), &database.first.program_hash());
    reply
}

pub(super) fn preview(
    named: &Named,
    database: &Database,
    request: &Request,
    caller: &Caller,
) -> Option<Reply> {
    only_wasm(request)?;
    let style = request.parameter("style")?;
    if style != "NoColor" && style != "AnsiColor" {
        let mut reply = recorded("19");
        reply.body = reply.body.replace("Plain", &style);
        return Some(reply);
    }
    if caller.identity != database.owner {
        return Some(recorded("17"));
    }
    let next = Module::of(&request.body)?;
    let file = match (database.module.step_to(next)?, style.as_str()) {
        (Step::Unchanged, "NoColor") => "12",
        (Step::Compatible, "NoColor") => "13",
        (Step::Compatible, "AnsiColor") => "14",
        (Step::Manual, "NoColor") => "15",
        (Step::Unseen, "NoColor") => "16",
        (Step::Breaking, "NoColor") => "42",
        _ => return None,
    };
    let mut reply = recorded(file);
    if let Some((before, after)) = reply.body.split_once("\"token\":\"") {
        let after = after.trim_start_matches(|c: char| c != '"');
        let token = database.module.token_to(next, named.identity);
        reply.body = format!("{before}\"token\":\"{token}{after}");
    }
    Some(reply)
}

pub(super) fn schema(module: Module, version: &str) -> Option<Reply> {
    let file = match (module, version) {
        (Module::V1, "9") => "20",
        (Module::V1, "10") => "21",
        (Module::V2, "9") => "derived-schema-9-v2",
        (Module::V2, "10") => "derived-schema-10-v2",
        (Module::V3, "9") => "derived-schema-9-v3",
        (Module::V3, "10") => "derived-schema-10-v3",
        (Module::V4, "9") => "derived-schema-9-v4",
        (Module::V4, "10") => "derived-schema-10-v4",
        _ => return None,
    };
    Some(recorded(file))
}

pub(super) fn logs(database: &Database, request: &Request, caller: &Caller) -> Option<Reply> {
    if caller.identity != database.owner {
        return Some(recorded("29"));
    }
    let most: usize = request.parameter("num_lines")?.parse().ok()?;
    if request.parameter("follow").is_some_and(|follow| follow == "true") {
        return None;
    }
    let mut reply = recorded("28");
    let lines: Vec<_> = reply.body.lines().collect();
    let last = lines.get(lines.len().saturating_sub(most)..).unwrap_or_default();
    reply.body = last.iter().flat_map(|line| [line, "\n"]).collect();
    Some(reply)
}

pub(super) fn query(database: &Database, text: &str, caller: &Caller) -> Option<Reply> {
    let statement = text.trim().trim_end_matches(';').to_lowercase();
    if statement.contains(';') {
        return Some(recorded("derived-sql-multiple"));
    }
    let words: Vec<_> = statement.split_whitespace().collect();
    match words.as_slice() {
        ["select", "program_hash", "from", "st_module"] => {
            let mut reply = recorded("derived-sql-program-hash");
            reply.body = reply.body.replace("<program_hash>", &database.module.program_hash());
            Some(reply)
        }
        ["select", "program_bytes", "from", "st_module"] => {
            let mut reply = recorded("derived-sql-program-bytes");
            reply.body = reply.body.replace("<program_bytes>", &hex(&database.module.bytes()));
            Some(reply)
        }
        ["select", "table_name", "from", "st_table", "where", "table_type", "=", "'user'"] => {
            let tables = database.module.tables().map(|table| format!("[\"{table}\"]")).collect::<Vec<_>>();
            let mut reply = recorded("derived-sql-tables");
            reply.body = reply.body.replace(r#"["person"],["secret"]"#, &tables.join(","));
            Some(reply)
        }
        ["select", "count(*)", "as", name, "from", table] => {
            let table = table.trim_matches('"');
            let rows = match rows(database, table, caller) {
                Ok(rows) => rows,
                Err(refused) => return Some(refused),
            };
            let mut reply = recorded("24");
            let named = format!(r#""name":{{"some":"{}"}}"#, name.trim_matches('"'));
            reply.body = reply
                .body
                .replace(r#""name":{"some":"n"}"#, &named)
                .replace("\"rows\":[[1]]", &format!("\"rows\":[[{rows}]]"));
            Some(reply)
        }
        ["select", "*", "from", table] => {
            let table = table.trim_matches('"');
            match rows(database, table, caller) {
                Err(refused) => Some(refused),
                Ok(_) if table == "person" && database.module != Module::V3 => {
                    let people = database.people.iter().enumerate();
                    let rows: Vec<_> = people.map(|(at, name)| format!("[{},\"{name}\"]", at + 1)).collect();
                    let mut reply = recorded("22");
                    reply.body = reply.body.replace(r#"[1,"first"]"#, &rows.join(","));
                    Some(reply)
                }
                Ok(_) => None,
            }
        }
        _ => None,
    }
}

/// How many rows a table has; or what is said to who may not know.
fn rows(database: &Database, table: &str, caller: &Caller) -> Result<usize, Reply> {
    match table {
        "person" => Ok(database.people.len()),
        "score" if database.module.tables().any(|own| own == table) => Ok(0),
        "secret" if caller.identity == database.owner => Ok(0),
        _ => {
            let mut reply = recorded("23");
            reply.body = reply.body.replace("secret", table);
            Err(reply)
        }
    }
}

/// What is no module is refused with its first four bytes.
pub(super) fn not_wasm(body: &[u8]) -> Option<Reply> {
    let first = body.get(..4).filter(|first| *first != WASM)?;
    let mut reply = recorded("47");
    let (before, _) = reply.body.split_once("actual=[")?;
    let bytes: Vec<_> = first.iter().map(|byte| format!("    0x{byte:x},\n")).collect();
    reply.body = format!("{before}actual=[\n{}] (at offset 0x0)", bytes.concat());
    Some(reply)
}

pub(super) fn only_wasm(request: &Request) -> Option<()> {
    request.parameter("host_type").is_none_or(|host| host == "Wasm").then_some(())
}

pub(super) fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    name.split('-').all(part)
}
